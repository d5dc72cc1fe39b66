// report_sample FOLDER: writes reports of made-up results to a folder, for tests that are no C++.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "measure/html.h"
#include "tests/reports.h"

namespace {

using namespace maru::measure;

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text << std::flush;
  if (!file) throw std::runtime_error("cannot write " + path.string());
}

// Long names, and many steps: what a page must not be torn apart by.
ProfileResult long_profile() {
  ProfileResult result = maru::testing::sample_profile();
  const std::vector<ProfiledStep> some = result.steps;
  for (int i = 0; i < 30; ++i) {
    for (ProfiledStep step : some) {
      step.name = "a_block_with_a_long_name/branch_of_it/convolution" + std::to_string(i) + step.name;
      result.steps.push_back(step);
    }
  }
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: report_sample FOLDER\n", stderr);
    return 2;
  }
  try {
    const std::filesystem::path folder = argv[1];
    std::filesystem::create_directories(folder);
    BenchResult bench = maru::testing::sample_bench(true);
    write(folder / "bench.html", html_of(bench));
    write(folder / "bench.svg", figure_of(bench));
    write(folder / "bench_no_meter.html", html_of(maru::testing::sample_bench(false)));
    bench.checks.push_back(
        {"drift", Check::Verdict::unstable, "copy became slower from block to block"});
    bench.model.name = "a_network_with_a_long_name_and_without_any_space_in_it_v1.1_final_really";
    bench.model.path = "/a/folder/" + bench.model.name + "/" + bench.model.name + ".caffemodel";
    bench.command = std::string(300, 'a');
    write(folder / "bench_unstable.html", html_of(bench));
    write(folder / "profile.html", html_of(long_profile()));
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
