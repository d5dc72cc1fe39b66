// Ranks: which process this is of several that train together, as whoever started them says in the
// environment. A plain value.
#pragma once

#include <string>
#include <string_view>

namespace maru {

struct Ranks {
  int rank = 0, ranks = 1;              // of all
  int local_rank = 0, local_ranks = 1;  // of those on this machine
  // Where rank 0 listens, and the others look for it.
  std::string address = "127.0.0.1";
  int port = kPort;
  std::string job;  // names this training, where the environment does; others are not let in

  static constexpr int kPort = 29500;  // unless MASTER_PORT says another
};

// From the variables of
//   torchrun         RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE
//   Open MPI         OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK, _LOCAL_SIZE
//   MPICH, Intel MPI PMI_RANK, PMI_SIZE, MPI_LOCALRANKID, MPI_LOCALNRANKS
// in this order, and MASTER_ADDR and MASTER_PORT; nothing of MPI is used. One rank where none is set.
// torchrun itself listens on MASTER_PORT (it sets TORCHELASTIC_USE_AGENT_STORE): then rank 0 takes the
// next one. Throws Error for half a set, for what is no number or out of range, and where ranks are on
// several machines and MASTER_ADDR is not set.
Ranks ranks_from_environment();

// What CUDA_VISIBLE_DEVICES has to be for a rank that is to see no GPU but its own: its part of the
// list, or its number where there is no list. Nothing where it may stay as it is: there is one rank,
// or the list has one entry, which whoever started the ranks has chosen. Throws Error where a list has
// fewer entries than there are ranks on this machine.
std::string own_gpu(const Ranks& ranks, const char* visible);

// Sets it, before anything of CUDA has begun: every rank then calls its GPU "cuda", and makes no
// context on the others'. Not while other threads look at the environment.
void see_own_gpu_only(const Ranks& ranks);

}  // namespace maru
