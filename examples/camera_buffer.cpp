// A camera (or a decoder of your own) that writes its pixels where the network's first step reads them,
// or into memory of its own that the network then reads where it stands: camera_buffer MODEL
#include <maru/maru.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
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
    // A driver with a buffer of its own: whole pages, rows 2048 bytes apart.
    constexpr std::size_t kRow = 2048, kRows = 480;
    const std::unique_ptr<std::byte, decltype(&std::free)> buffer(
        static_cast<std::byte*>(std::aligned_alloc(4096, kRow * kRows)), &std::free);
    const std::span<std::byte> pixels(buffer.get(), kRow * kRows);
    const bool in_place = session.bind_photo(pixels, 640, kRows, kRow);
    std::cout << "the driver's buffer is " << (in_place ? "read where it stands" : "copied") << '\n';
    if (in_place) {  // each run now reads what lies there; else it is bound anew for each frame
      for (std::size_t row = 0; row < kRows; ++row) {
        const std::span<std::byte> one = pixels.subspan(row * kRow, 640 * 3);
        capture({reinterpret_cast<std::uint8_t*>(one.data()), one.size()}, 0);
      }
      session.run();
      std::cout << "its frame: " << session.top(1).front().label << '\n';
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
