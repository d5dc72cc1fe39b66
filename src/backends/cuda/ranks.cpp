#include "backends/cuda/ranks.h"

#include <array>
#include <vector>

#include "backends/cuda/runtime.h"
#include "base/error.h"

namespace maru::cuda {

// Who ends before the work is done must not wait for others, which may have ended too.
CudaRanks::~CudaRanks() {
  if (made_ != nullptr) runtime_.api().ranks_destroy(made_, communicator_->has_left() ? 0 : 1);
}

maru_cuda_ranks* CudaRanks::get() {
  const std::lock_guard lock(mutex_);
  require_whole();
  if (made_ == nullptr) introduce();
  return made_;
}

void CudaRanks::introduce() {
  const maru_cuda_api& api = runtime_.api();
  // Who cannot take part says so before the others wait for it.
  int version = 0;
  const int code = api.ranks_version(&version);
  std::vector<double> without(static_cast<std::size_t>(count()));
  without[static_cast<std::size_t>(communicator_->rank())] = code == 0 ? 0 : 1;
  communicator_->sum(std::span(without));
  if (code != 0)
    throw Error(fmt::format("cuda:{} ranks", runtime_.ordinal()), "NCCL 2.10.3 or later, libnccl.so.2",
                api.error_text(code), "installing libnccl2, or LD_LIBRARY_PATH; or --device cpu");
  std::string list;
  for (std::size_t rank = 0; rank < without.size(); ++rank) {
    if (without[rank] != 0) list += fmt::format("{}{}", list.empty() ? "" : ", ", rank);
  }
  if (!list.empty())
    throw Error("ranks", "NCCL on all ranks", fmt::format("none on rank {}", list),
                "what that rank has said");
  std::array<unsigned char, MARU_CUDA_RANKS_ID> id{};
  if (communicator_->rank() == 0) runtime_.check(api.ranks_id(id.data()), "ncclGetUniqueId");
  communicator_->share(std::as_writable_bytes(std::span(id)));
  runtime_.check(
      api.ranks_create(runtime_.ordinal(), count(), communicator_->rank(), id.data(), &made_),
      "ncclCommInitRank");
}

void CudaRanks::watch(Clock::time_point since) {
  try {
    communicator_->check();
    const std::chrono::duration<double> patience = communicator_->patience();
    if (Clock::now() - since > patience)
      throw Error("ranks", fmt::format("all {} ranks to take part in time", count()),
                  fmt::format("one that is {:.0f} s behind", patience.count()),
                  "looking whether all ranks still run, and do the same");
  } catch (const Error&) {
    break_up();
    throw;
  }
}

// NCCL ends what is under way at once, and itself only when no graph uses it any more.
void CudaRanks::break_up() {
  const std::lock_guard lock(mutex_);
  is_broken_ = true;
  if (made_ == nullptr) return;
  ending_ = std::jthread([&api = runtime_.api(), made = made_] { api.ranks_destroy(made, 1); });
  made_ = nullptr;
}

void CudaRanks::require_whole() const {
  if (is_broken_)
    throw Error("ranks", "all ranks until the end", "a failure before that",
                "going on from a snapshot");
}

}  // namespace maru::cuda
