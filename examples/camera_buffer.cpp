// A camera (or a decoder of your own) that writes its pixels where the network's first step reads them;
// no frame is copied on the way: camera_buffer MODEL
#include <maru/maru.h>

#include <cstdint>
#include <iostream>
#include <span>

namespace {

// Stands for a driver that fills the buffer it is given with RGB: a red frame, a green one, a blue one.
void capture(std::span<std::uint8_t> pixels, std::size_t frame) {
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = i % 3 == frame % 3 ? 255 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: camera_buffer MODEL\n";
    return 2;
  }
  try {
    const maru::Model model = maru::Model::load(argv[1]);
    maru::Session session(model);
    for (std::size_t frame = 0; frame < 3; ++frame) {
      capture(session.photo(640, 480), frame);
      session.run();
      const maru::Score best = session.top(1).front();
      std::cout << "frame " << frame << ": " << best.label << ' ' << best.score << '\n';
    }
    // Every copy that the runs made, and why the plan has it. The frames are in none of them.
    for (const maru::CopyRecord& copy : session.copies()) {
      std::cout << copy.bytes << " bytes of " << copy.tensor << " copied: " << copy.cause << '\n';
    }
  } catch (const maru::Error& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
