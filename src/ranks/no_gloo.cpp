#include "base/error.h"
#include "ranks/communicator.h"

namespace maru {

std::shared_ptr<Communicator> make_communicator(const Ranks& ranks, const CommunicatorOptions&) {
  if (ranks.ranks == 1) return nullptr;
  throw Error("ranks", "one process, since this maru was built without Gloo",
              fmt::format("rank {} of {}", ranks.rank, ranks.ranks),
              "installing libgloo-dev and building again");
}

}  // namespace maru
