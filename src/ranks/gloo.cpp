// The communicator by Gloo's collectives over TCP. Ranks meet at rank 0 (ranks/meeting.h), where they
// tell each other their addresses, and which knows when one of them ends.
#include <gloo/allreduce.h>
#include <gloo/barrier.h>
#include <gloo/broadcast.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>

#include <algorithm>

#include "base/error.h"
#include "ranks/communicator.h"
#include "ranks/meeting.h"
#include "ranks/no_pipe_signal.h"

namespace maru {
namespace {

using ranks::Meeting;

class MeetingStore final : public gloo::rendezvous::Store {
 public:
  MeetingStore(Meeting& meeting, std::chrono::milliseconds timeout)
      : meeting_(meeting), timeout_(timeout) {}

  void set(const std::string& key, const std::vector<char>& data) override {
    meeting_.set(key, std::string(data.begin(), data.end()));
  }
  std::vector<char> get(const std::string& key) override {
    const std::string value = meeting_.get(key, timeout_);
    return {value.begin(), value.end()};
  }
  void wait(const std::vector<std::string>& keys) override { wait(keys, timeout_); }
  void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) override {
    for (const std::string& key : keys) meeting_.get(key, std::max(timeout, timeout_));
  }

 private:
  Meeting& meeting_;
  std::chrono::milliseconds timeout_;
};

// The store is a reference in some of Gloo's versions and a pointer in others.
template <class Context>
void connect_all(Context& context, const std::shared_ptr<MeetingStore>& store,
                 std::shared_ptr<gloo::transport::Device>& device) {
  if constexpr (requires { context.connectFullMesh(*store, device); }) {
    context.connectFullMesh(*store, device);
  } else {
    context.connectFullMesh(store, device);
  }
}

class GlooCommunicator final : public Communicator {
 public:
  GlooCommunicator(const Ranks& ranks, const CommunicatorOptions& options)
      : ranks_(ranks), options_(options), meeting_(ranks, options.start) {
    guarded("connecting", [&] {
      gloo::transport::tcp::attr at;
      at.hostname = meeting_.own_address();
      auto device = gloo::transport::tcp::CreateDevice(at);
      auto context = std::make_shared<gloo::rendezvous::Context>(ranks.rank, ranks.ranks);
      context->setTimeout(options.start);
      connect_all(*context, std::make_shared<MeetingStore>(meeting_, options.start), device);
      context->setTimeout(options.behind);
      context_ = std::move(context);
    });
  }

  int rank() const noexcept override { return ranks_.rank; }
  int ranks() const noexcept override { return ranks_.ranks; }

  void sum(std::span<float> values) override { sum_all(values); }
  void sum(std::span<double> values) override { sum_all(values); }

  void share(std::span<std::byte> bytes) override {
    if (bytes.empty()) return;
    guarded("sharing", [&] {
      gloo::BroadcastOptions broadcast(context_);
      broadcast.setOutput(reinterpret_cast<char*>(bytes.data()), bytes.size());
      broadcast.setRoot(0);
      gloo::broadcast(broadcast);
    });
  }

  void meet() override {
    guarded("meeting", [&] {
      gloo::BarrierOptions barrier(context_);
      gloo::barrier(barrier);
    });
  }

  void check() const override {
    const std::vector<int> ended = meeting_.ended();
    if (!ended.empty()) throw ranks::ended_error(ended, ranks_.ranks);
  }

  std::chrono::milliseconds patience() const noexcept override { return options_.behind; }

  void leave() override {
    meeting_.leave(options_.behind);
    has_left_ = true;
  }
  bool has_left() const noexcept override { return has_left_; }

 private:
  template <class T>
  void sum_all(std::span<T> values) {
    if (values.empty()) return;
    guarded("adding up", [&] {
      gloo::AllreduceOptions reduce(context_);
      reduce.setAlgorithm(gloo::AllreduceOptions::Algorithm::RING);
      reduce.setOutput(values.data(), values.size());
      void (*add)(void*, const void*, const void*, std::size_t) = &gloo::sum<T>;
      reduce.setReduceFunction(add);
      gloo::allreduce(reduce);
    });
  }

  // Gloo says which socket failed; who has ended is known at the meeting, and news of it may come
  // later.
  template <class Collective>
  void guarded(std::string_view doing, Collective collective) {
    if (failed_) throw Error(*failed_);
    std::string said;
    const ranks::NoPipeSignal no_signal;  // which Gloo does not ask for
    try {
      return collective();
    } catch (const Error& error) {
      failed_ = error;
      throw;
    } catch (const std::exception& error) {
      said = error.what();
    }
    failed_ = explained(doing, said);
    throw Error(*failed_);
  }

  Error explained(std::string_view doing, std::string_view said) {
    // All who wait for the same one notice it at about the same time.
    constexpr std::chrono::milliseconds kNews{3000};
    if (const std::vector<int> ended = meeting_.ended_soon(kNews); !ended.empty())
      return ranks::ended_error(ended, ranks_.ranks);
    const std::vector<int> silent = meeting_.silent("stuck", kNews);
    if (const std::vector<int> ended = meeting_.ended(); !ended.empty())
      return ranks::ended_error(ended, ranks_.ranks);
    std::string list;
    for (const int rank : silent) list += fmt::format("{}{}", list.empty() ? "" : ", ", rank);
    return {"ranks", fmt::format("all {} ranks to take part in time", ranks_.ranks),
            list.empty() ? fmt::format("a failure of {}: {}", doing, said)
                         : fmt::format("nothing of rank {} ({}: {})", list, doing, said),
            "what that rank does or has said"};
  }

  const Ranks ranks_;
  const CommunicatorOptions options_;
  Meeting meeting_;
  std::shared_ptr<gloo::Context> context_;
  std::optional<Error> failed_;
  bool has_left_ = false;
};

}  // namespace

std::shared_ptr<Communicator> make_communicator(const Ranks& ranks,
                                                const CommunicatorOptions& options) {
  if (ranks.ranks == 1) return nullptr;
  return std::make_shared<GlooCommunicator>(ranks, options);
}

}  // namespace maru
