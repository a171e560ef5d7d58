// A camera's frames, looked at as they come: live FRAME WIDTH HEIGHT FORMAT PROMPT
//
// The camera here is one frame, ten times a second.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <glip/glip.hpp>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

void print(const glip::FrameResultView &result) {
  using milliseconds = std::chrono::duration<double, std::milli>;
  std::printf("frame %llu after %.1f ms:", static_cast<unsigned long long>(result->id),
              milliseconds(result.latency()).count());
  if (result->outcome == GLIP_OUTCOME_FAILED) {
    std::printf(" %s", result->error);
  }
  for (const glip_detection &found : result.found()) {
    std::printf(" %s #%llu at (%.0f, %.0f)", found.phrase, static_cast<unsigned long long>(found.track_id), found.x1,
                found.y1);
  }
  std::printf("\n");
}

void run(char **argv) {
  std::ifstream file(argv[1], std::ios::binary);
  const auto bytes = std::make_shared<const std::vector<char>>(std::istreambuf_iterator<char>(file),
                                                               std::istreambuf_iterator<char>());
  const auto width = static_cast<std::uint32_t>(std::stoul(argv[2]));
  const auto height = static_cast<std::uint32_t>(std::stoul(argv[3]));
  const glip::Image image(width, height, glip::pixel_format(argv[4]), bytes->data(), bytes->size());

  // Two threads at most that sleep while they wait: the rest of the robot needs the processor, too.
  glip::DetectorOptions model;
  model.threads = 2;
  model.no_spinning = 1;
  const glip::Detector detector(model);
  glip::LiveOptions options;
  options.tracks = 1;
  glip::Live live(detector, glip::Prompt(detector, argv[5]), print, options);
  live.warm_up(width, height);

  const auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t id = 0; id < 10; id++) {
    const auto due = std::chrono::milliseconds(100 * id);
    std::this_thread::sleep_until(begin + due);
    live.push(image, id, due, bytes);  // which lives until the frame is done; without it, the frame is copied
  }
  const glip_live_stats stats = live.finish();
  std::printf("%llu frames, %llu looked at, %llu dropped\n", static_cast<unsigned long long>(stats.pushed),
              static_cast<unsigned long long>(stats.done), static_cast<unsigned long long>(stats.dropped));
}

}  // namespace

int main(int argc, char **argv) try {
  if (argc != 6) {
    std::fprintf(stderr, "usage: %s FRAME WIDTH HEIGHT FORMAT PROMPT\n", argv[0]);
    return EXIT_FAILURE;
  }
  // Warnings of the library.
  glip::check(glip_set_log_callback(
      [](glip_log_level, const char *message, void *) { std::fprintf(stderr, "glip: %s\n", message); }, nullptr,
      GLIP_LOG_LEVEL_WARN));
  run(argv);
  return EXIT_SUCCESS;
} catch (const std::exception &error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return EXIT_FAILURE;
}
