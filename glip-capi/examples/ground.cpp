// As ground.c, in C++: ground FRAME WIDTH HEIGHT FORMAT PROMPT [MODEL]
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <glip/glip.hpp>
#include <iterator>
#include <string>
#include <vector>

int main(int argc, char **argv) try {
  if (argc != 6 && argc != 7) {
    std::fprintf(stderr, "usage: %s FRAME WIDTH HEIGHT FORMAT PROMPT [MODEL]\n", argv[0]);
    return EXIT_FAILURE;
  }
  std::ifstream file(argv[1], std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const auto width = static_cast<std::uint32_t>(std::stoul(argv[2]));
  const auto height = static_cast<std::uint32_t>(std::stoul(argv[3]));
  const glip::Image image(width, height, glip::pixel_format(argv[4]), bytes.data(), bytes.size());

  const glip::Detector detector = argc == 7 ? glip::Detector(argv[6]) : glip::Detector();
  const glip::Prompt prompt(detector, argv[5]);
  for (const glip_detection &found : detector.ground(image, prompt)) {
    std::printf("%s %.2f from (%.0f, %.0f) to (%.0f, %.0f)\n", found.phrase, found.score, found.x1, found.y1, found.x2,
                found.y2);
  }
  return EXIT_SUCCESS;
} catch (const std::exception &error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return EXIT_FAILURE;
}
