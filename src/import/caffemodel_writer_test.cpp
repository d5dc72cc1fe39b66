// Writers of caffemodels and solver states, against our readers and byte by byte.
#include "import/caffemodel_writer.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <random>

#include "base/error.h"
#include "import/caffe_test_files.h"
#include "import/caffemodel.h"
#include "import/solver_state.h"

namespace maru {
namespace {

using namespace testing_files;

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> files_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  return names;
}

// No file may grow beyond this while it lives: the nearest to a full disk that a test can have.
class SmallDisk {
 public:
  explicit SmallDisk(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit small = before_;
    small.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &small);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
  }
  ~SmallDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

struct Model {
  std::vector<float> weight{1, 2, 3, 4, 5, 6}, bias{7, 8};

  std::vector<CaffemodelLayer> layers() const {
    return {{"data", "Input", {}},
            {"conv1", "Convolution", {{{2, 3, 1, 1}, weight}, {{2}, bias}}},
            {"s", "Scale", {{{}, std::span(bias).first(1)}}}};
  }
};

SolverState state() {
  SolverState state;
  state.iteration = 1234567;
  state.learned_net = "net_iter_1234567.caffemodel";
  state.current_step = 3;
  state.history = {{{2, 3}, {1, 2, 3, 4, 5, 6}}, {{}, {7}}, {{0}, {}}};
  state.extras = {{"seed", "1"}, {"bytes", std::string("\0\xff\n", 3)}};
  return state;
}

class CaffeWriters : public ::testing::Test {
 protected:
  Folder folder;
};

TEST_F(CaffeWriters, CaffemodelsComeBack) {
  const Model model;
  const auto path = folder.path("net.caffemodel");
  write_caffemodel(path, "net", model.layers());
  const CaffeModel read = read_caffemodel(path);
  EXPECT_EQ(read.name, "net");
  ASSERT_EQ(read.layers.size(), 3u);
  EXPECT_EQ(read.layers[0].name, "data");
  EXPECT_EQ(read.layers[0].type, "Input");
  EXPECT_EQ(read.layers[0].blobs.size(), 0u);
  EXPECT_EQ(read.layers[1].type, "Convolution");
  ASSERT_EQ(read.layers[1].blobs.size(), 2u);
  EXPECT_FALSE(read.layers[1].blobs[0].legacy);
  EXPECT_EQ(read.layers[1].blobs[0].dims, (std::vector<std::int64_t>{2, 3, 1, 1}));
  EXPECT_EQ(make_constant(read.layers[1].blobs[0], {2, 3, 1, 1})->floats(), model.weight);
  EXPECT_EQ(make_constant(read.layers[1].blobs[1], {2})->floats(), model.bias);
  EXPECT_EQ(make_constant(read.layers[2].blobs[0], {})->floats(), std::vector<float>{7});
  EXPECT_EQ(files_in(folder.path("")), std::vector<std::string>{"net.caffemodel"});
}

// What a reader of protocol buffers made from caffe.proto takes: the same bytes as field by field.
TEST_F(CaffeWriters, CaffemodelsAreCaffesOwnBytes) {
  const Model model;
  const auto path = folder.path("net.caffemodel");
  auto layers = model.layers();
  layers.pop_back();
  layers.erase(layers.begin());
  write_caffemodel(path, "net", layers);
  EXPECT_EQ(
      content_of(path),
      testing_files::write_caffemodel(
          {{"conv1", "Convolution", {{{2, 3, 1, 1}, model.weight}, {{2}, model.bias}}}}, Form::v2));
}

TEST_F(CaffeWriters, ShapesThatAreWrong) {
  const std::vector<float> values{1, 2};
  const std::vector<CaffemodelLayer> layers{{"ip", "InnerProduct", {{{3}, values}}}};
  EXPECT_EQ(
      folder.shorten(error_of([&] { write_caffemodel(folder.path("net.caffemodel"), "net", layers); })),
      "[ip] expected 3 values, as its shape says, got 2");
  EXPECT_EQ(files_in(folder.path("")), std::vector<std::string>{});
}

TEST_F(CaffeWriters, SolverStatesComeBack) {
  const auto path = folder.path("net.solverstate");
  write_solver_state(path, state());
  const SolverState read = read_solver_state(path);
  EXPECT_EQ(read.iteration, 1234567);
  EXPECT_EQ(read.learned_net, "net_iter_1234567.caffemodel");
  EXPECT_EQ(read.current_step, 3);
  ASSERT_EQ(read.history.size(), 3u);
  EXPECT_EQ(read.history[0].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(read.history[0].values, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(read.history[1].shape, std::vector<std::int64_t>{});
  EXPECT_EQ(read.history[1].values, std::vector<float>{7});
  EXPECT_EQ(read.history[2].values, std::vector<float>{});
  EXPECT_EQ(read.extras, state().extras);
}

// As Caffe writes it: iter 1, learned_net 2, history 3, current_step 4; older ones with legacy extents.
TEST_F(CaffeWriters, SolverStatesOfCaffe) {
  for (const Form form : {Form::v1, Form::v2}) {
    std::string bytes;
    protozero::pbf_writer writer(bytes);
    writer.add_int32(1, 500);
    writer.add_string(2, "x.caffemodel");
    writer.add_message(3, write_blob(counting({2, 2}), form));
    writer.add_int32(4, 2);
    writer.add_float(6, 1.5F);  // of a fork
    const SolverState read = read_solver_state(std::as_bytes(std::span(bytes)), "s");
    EXPECT_EQ(read.iteration, 500);
    EXPECT_EQ(read.learned_net, "x.caffemodel");
    EXPECT_EQ(read.current_step, 2);
    EXPECT_EQ(read.history.at(0).values, (std::vector<float>{0, 1, 2, 3}));
    EXPECT_EQ(read.extras.size(), 0u);
  }
}

TEST_F(CaffeWriters, FilesThatAreNoSolverStates) {
  const auto bad = [](std::string_view bytes) {
    return error_of(
        [&] { read_solver_state(std::as_bytes(std::span(bytes.data(), bytes.size())), "s"); });
  };
  EXPECT_EQ(bad("net: 'x'"),
            "[s] expected a .solverstate, got a text file; try the .solverstate that a "
            "snapshot wrote");
  EXPECT_NE(bad(std::string_view("\x89HDF\r\n", 6)).find("got an HDF5 file"), std::string::npos);
  EXPECT_EQ(bad(testing_files::write_caffemodel({{"x", "ReLU", {}}}, Form::v2)).substr(0, 12),
            "[s: byte 0] ");
  std::string negative, wild, none;
  protozero::pbf_writer(negative).add_int64(1, -5);
  EXPECT_EQ(bad(negative), "[s: byte 0] expected the iteration of 0 or more, got -5");
  Blob blob = counting({4});
  blob.dims = {std::int64_t{1} << 62, 8};
  protozero::pbf_writer(wild).add_message(3, write_blob(blob, Form::v2));
  EXPECT_NE(bad(wild).find("expected the values of a history of 4611686018427387904x8, got 4"),
            std::string::npos)
      << bad(wild);
  protozero::pbf_writer(none).add_int64(4, 1);
  EXPECT_NE(bad(none).find("expected a .solverstate with its iteration, got none"), std::string::npos);
  EXPECT_EQ(folder.shorten(error_of([&] { read_solver_state(folder.path("none")); })),
            "[none] expected a readable file, got No such file or directory; try checking the path");
}

TEST_F(CaffeWriters, DamagedSolverStatesAreAnErrorOrAState) {
  const auto path = folder.path("net.solverstate");
  write_solver_state(path, state());
  const std::string content = content_of(path);
  const auto read = [](const std::string& bytes) {
    // Exactly as long as the content, so that a sanitizer sees each byte read beyond it.
    const std::vector<char> exact(bytes.begin(), bytes.end());
    try {
      read_solver_state(std::as_bytes(std::span(exact)), "s");
    } catch (const Error& error) {
      EXPECT_TRUE(std::string_view(error.what()).starts_with("[s")) << error.what();
    }
  };
  for (std::size_t size = 0; size < content.size(); ++size) read(content.substr(0, size));
  std::mt19937 random(5);
  for (int round = 0; round < 4000; ++round) {
    std::string damaged = content;
    for (std::uint32_t flips = 1 + random() % 4; flips > 0; --flips)
      damaged[random() % damaged.size()] ^= static_cast<char>(1U << random() % 8);
    read(damaged);
  }
}

TEST_F(CaffeWriters, WhereThereIsNoRoomNothingChanges) {
  const auto path = folder.path("net.solverstate");
  write_solver_state(path, state());
  const std::string before = content_of(path);
  SolverState large = state();
  large.history[0] = {{100000}, std::vector<float>(100000)};
  std::string error;
  {
    const SmallDisk disk(64 * 1024);
    error = error_of([&] { write_solver_state(path, large); });
  }
  EXPECT_EQ(folder.shorten(error),
            "[net.solverstate] expected room for the solver's state, got File too large; try freeing "
            "space, or another place");
  EXPECT_EQ(content_of(path), before);
  EXPECT_EQ(files_in(folder.path("")), std::vector<std::string>{"net.solverstate"});
  write_solver_state(path, large);
  EXPECT_EQ(read_solver_state(path).history[0].values.size(), 100000u);
  EXPECT_EQ(files_in(folder.path("")), std::vector<std::string>{"net.solverstate"});
}

// Whenever the process is killed, what is at the path is one whole state.
TEST_F(CaffeWriters, AKillLeavesAWholeFile) {
  const auto path = folder.path("net.solverstate");
  SolverState large = state();
  large.history = {{{500000}, std::vector<float>(500000)}};
  large.iteration = 0;
  write_solver_state(path, large);
  std::mt19937 random(7);
  std::int64_t last = 0;
  useconds_t longest = 20'000;  // microseconds; more, where the disk writes no file in that time
  for (int round = 0; round < 20 || (last == 0 && round < 100); ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (;;) {
        ++large.iteration;
        std::ranges::fill(large.history[0].values, static_cast<float>(large.iteration));
        write_solver_state(path, large);
      }
    }
    ::usleep(1000 + static_cast<useconds_t>(random()) % longest);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const SolverState read = read_solver_state(path);
    EXPECT_EQ(read.history.at(0).values,
              std::vector<float>(500000, static_cast<float>(read.iteration)));
    EXPECT_GE(read.iteration, 0);
    last = std::max(last, read.iteration);
    if (last == 0 && round >= 10) longest += longest / 10;
  }
  EXPECT_GT(last, 0) << "no round wrote a whole file: the kill came too early each time";
}

TEST_F(CaffeWriters, PlacesThatCannotBeWritten) {
  const Model model;
  const auto write = [&](const std::filesystem::path& path) {
    return folder.shorten(error_of([&] { write_caffemodel(path, "net", model.layers()); }));
  };
  EXPECT_EQ(write(folder.path("none/net.caffemodel")),
            "[none/net.caffemodel] expected a folder that the weights can be written to, got No such "
            "file or directory; try another place");
  std::filesystem::create_directory(folder.path("folder"));
  EXPECT_EQ(write(folder.path("folder")),
            "[folder] expected a file for the weights, got a folder; try another name");
  EXPECT_EQ(write("/dev/full"),
            "[/dev/full] expected a file for the weights, got something that is no file; try another "
            "name");
  // Of a link, the file that it names is written.
  folder.write("target", "old");
  std::filesystem::create_symlink(folder.path("target"), folder.path("link"));
  write(folder.path("link"));
  EXPECT_TRUE(std::filesystem::is_symlink(folder.path("link")));
  EXPECT_EQ(read_caffemodel(folder.path("target")).layers.size(), 3u);
}

}  // namespace
}  // namespace maru
