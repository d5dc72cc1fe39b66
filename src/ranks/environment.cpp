#include "ranks/environment.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <vector>

#include "base/error.h"

namespace maru {
namespace {

constexpr int kMostRanks = 4096, kMostPort = 65535;

const char* set_or_null(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? nullptr : value;
}

std::optional<int> number(const char* name, int least, int most) {
  const char* value = set_or_null(name);
  if (value == nullptr) return std::nullopt;
  const std::string_view text = value;
  int parsed = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (code != std::errc() || end != text.data() + text.size() || parsed < least || parsed > most)
    throw Error(name, fmt::format("a number from {} to {}", least, most), fmt::format("\"{}\"", text));
  return parsed;
}

// Names of variables: rank, number of ranks, and the same of this machine.
using Names = std::array<const char*, 4>;
constexpr std::array<Names, 3> kStarters{{
    {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
}};

bool read(const Names& names, Ranks& found) {
  const auto count = number(names[1], 1, kMostRanks);
  const auto rank = number(names[0], 0, count.value_or(kMostRanks) - 1);
  if (!count && !rank) return false;
  if (!count || !rank) {
    throw Error("ranks", fmt::format("both {} and {}, or neither", names[0], names[1]),
                fmt::format("only {}", names[count ? 1 : 0]), "unset, to train in one process");
  }
  found.rank = *rank;
  found.ranks = *count;
  // Who says nothing of machines means one.
  found.local_ranks = number(names[3], 1, found.ranks).value_or(found.ranks);
  found.local_rank = number(names[2], 0, found.local_ranks - 1).value_or(*rank % found.local_ranks);
  return true;
}

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    parts.emplace_back(list.substr(0, comma));
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
  }
  return parts;
}

}  // namespace

Ranks ranks_from_environment() {
  Ranks found;
  bool is_started = false;
  for (const Names& names : kStarters) is_started = is_started || read(names, found);
  if (!is_started || found.ranks == 1) return found;
  if (const char* address = set_or_null("MASTER_ADDR")) {
    found.address = address;
  } else if (found.local_ranks < found.ranks) {
    throw Error("MASTER_ADDR",
                fmt::format("the machine of rank 0, since {} of {} ranks are on this one",
                            found.local_ranks, found.ranks),
                "nothing", "mpirun -x MASTER_ADDR=HOST");
  }
  found.port = number("MASTER_PORT", 1, kMostPort).value_or(Ranks::kPort);
  const char* agent = set_or_null("TORCHELASTIC_USE_AGENT_STORE");
  if (agent != nullptr && std::string_view(agent) == "True") {
    if (found.port == kMostPort)
      throw Error("MASTER_PORT", fmt::format("a port below {}", kMostPort),
                  fmt::format("{}", found.port), "torchrun --master_port");
    ++found.port;
  }
  for (const char* name : {"TORCHELASTIC_RUN_ID", "PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"}) {
    const char* job = set_or_null(name);
    if (job != nullptr && found.job.empty()) found.job = job;
  }
  return found;
}

std::string own_gpu(const Ranks& ranks, const char* visible) {
  if (ranks.ranks == 1) return {};
  if (visible == nullptr) return fmt::format("{}", ranks.local_rank);
  const std::vector<std::string> all = split(visible);
  if (all.size() < 2) return {};
  if (all.size() < static_cast<std::size_t>(ranks.local_ranks))
    throw Error("CUDA_VISIBLE_DEVICES",
                fmt::format("a GPU for each of the {} ranks of this machine", ranks.local_ranks),
                fmt::format("\"{}\"", visible), "fewer ranks");
  return all[static_cast<std::size_t>(ranks.local_rank)];
}

void see_own_gpu_only(const Ranks& ranks) {
  const std::string own = own_gpu(ranks, std::getenv("CUDA_VISIBLE_DEVICES"));
  if (!own.empty()) ::setenv("CUDA_VISIBLE_DEVICES", own.c_str(), 1);
}

}  // namespace maru
