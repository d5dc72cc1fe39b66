// The shortest way from a photo to its name: classify MODEL PHOTO
#include <maru/maru.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: classify MODEL PHOTO\n";
    return 2;
  }
  try {
    const maru::Model model = maru::Model::load(argv[1]);  // reads, checks and plans: once
    maru::Session session(model);                          // all the memory that runs will ever use
    session.load_photo(argv[2]);                           // decoded straight into that memory
    session.run();
    for (const maru::Score& s : session.top(5)) std::cout << s.score << ' ' << s.label << '\n';
  } catch (const maru::Error& e) {
    std::cerr << e.what() << '\n';  // says what was expected, what was found, what to try
    return 1;
  }
}
