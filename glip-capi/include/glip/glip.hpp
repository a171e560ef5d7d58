/* glip for C++17: glip.h with objects that give back what they hold, and exceptions.
 *
 *   glip::Detector detector;  // the small model in the library; or options.model_dir = "models/glip-t"
 *   glip::Prompt prompt(detector, "cup . person");
 *   glip::Image image(width, height, GLIP_PIXEL_FORMAT_NV12, data, size, stride);
 *   for (const glip_detection &found : detector.ground(image, prompt)) {
 *     use(found.phrase, found.score, found.x1, found.y1, found.x2, found.y2);
 *   }
 *
 * Everything that fails throws glip::Error. What glip.h says of handles and threads holds for the objects that have
 * them. Objects are moved, not copied.
 */
#ifndef GLIP_GLIP_HPP
#define GLIP_GLIP_HPP

#include <glip/glip.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace glip {

/* What a failed call said: what() is what is wrong, and what to do about it. */
class Error : public std::runtime_error {
 public:
  Error(glip_status status, const char *message) : std::runtime_error(message), status_(status) {}

  glip_status status() const noexcept { return status_; }

 private:
  glip_status status_;
};

/* Throws what became of a call, if that is a failure. */
inline void check(glip_status status) {
  if (status != GLIP_STATUS_OK) {
    throw Error(status, glip_last_error());
  }
}

namespace detail {

template <typename Handle, void (*free)(Handle *)>
struct Free {
  void operator()(Handle *handle) const noexcept { free(handle); }
};

template <typename Handle, void (*free)(Handle *)>
using Owned = std::unique_ptr<Handle, Free<Handle, free>>;

/* A struct of options with its size set, and everything else at its default. */
template <typename Options>
struct Sized : Options {
  Sized() noexcept : Options{} { this->struct_size = sizeof(Options); }
};

}  // namespace detail

/* glip_detector_options, glip_ground_options and glip_live_options, ready to be changed. */
using DetectorOptions = detail::Sized<glip_detector_options>;
using GroundOptions = detail::Sized<glip_ground_options>;
using LiveOptions = detail::Sized<glip_live_options>;

/* The format of a name, as ROS has it in an image's encoding: "bgr8", "yuv422_yuy2". */
inline glip_pixel_format pixel_format(const std::string &name) {
  std::uint32_t format = 0;
  check(glip_pixel_format_parse(name.c_str(), &format));
  return static_cast<glip_pixel_format>(format);
}

/* An image in memory of others, which must be there as long as it is used. */
struct Image : detail::Sized<glip_image> {
  /* An image of one piece; a stride of 0 says that nothing pads its rows. */
  Image(std::uint32_t image_width, std::uint32_t image_height, glip_pixel_format pixel_format, const void *data,
        std::size_t size, std::size_t stride = 0) noexcept
      : Image(image_width, image_height, pixel_format) {
    add_plane(data, size, stride);
  }

  /* An image whose planes are yet to be added. */
  Image(std::uint32_t image_width, std::uint32_t image_height, glip_pixel_format pixel_format) noexcept {
    width = image_width;
    height = image_height;
    format = pixel_format;
  }

  /* Adds a plane, in memory of its own or in some that it shares with others. There are three at most: more are left out, and
   * the image is refused. */
  void add_plane(const void *data, std::size_t size, std::size_t stride) noexcept {
    if (plane_count < 3) {
      planes[plane_count] = {static_cast<const std::uint8_t *>(data), size, stride};
    }
    plane_count++;
  }
};

/* A list of detections in memory of others, best first. */
class DetectionsView {
 public:
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = glip_detection;
    using difference_type = std::ptrdiff_t;
    using pointer = const glip_detection *;
    using reference = const glip_detection &;

    iterator(const glip_detections *detections, std::size_t index) noexcept : detections_(detections), index_(index) {}
    reference operator*() const noexcept { return *glip_detections_get(detections_, index_); }
    pointer operator->() const noexcept { return glip_detections_get(detections_, index_); }
    iterator &operator++() noexcept {
      index_++;
      return *this;
    }
    iterator operator++(int) noexcept { return iterator(detections_, index_++); }
    bool operator==(const iterator &other) const noexcept { return index_ == other.index_; }
    bool operator!=(const iterator &other) const noexcept { return index_ != other.index_; }

   private:
    const glip_detections *detections_;
    std::size_t index_;
  };

  explicit DetectionsView(const glip_detections *detections) noexcept : detections_(detections) {}

  std::size_t size() const noexcept { return glip_detections_count(detections_); }
  bool empty() const noexcept { return size() == 0; }
  /* The detection of an index below size(). */
  const glip_detection &operator[](std::size_t index) const noexcept { return *glip_detections_get(detections_, index); }
  iterator begin() const noexcept { return {detections_, 0}; }
  iterator end() const noexcept { return {detections_, size()}; }

 private:
  const glip_detections *detections_;
};

/* What was found in an image. What is in it lives as long as it does. */
class Detections : public DetectionsView {
 public:
  explicit Detections(glip_detections *owned) noexcept : DetectionsView(owned), owned_(owned) {}

 private:
  detail::Owned<glip_detections, glip_detections_free> owned_;
};

class Prompt;

/* A loaded model. */
class Detector {
 public:
  explicit Detector(const glip_detector_options &options = DetectorOptions()) {
    glip_detector *handle = nullptr;
    check(glip_detector_new(&options, &handle));
    handle_.reset(handle);
  }

  /* The model of a folder. */
  explicit Detector(const std::string &folder) : Detector(of_folder(folder)) {}

  Detections ground(const glip_image &image, const Prompt &prompt,
                    const glip_ground_options &options = GroundOptions()) const;

  const glip_detector *get() const noexcept { return handle_.get(); }

 private:
  static DetectorOptions of_folder(const std::string &folder) noexcept {
    DetectorOptions options;
    options.model_dir = folder.c_str();
    return options;
  }

  detail::Owned<glip_detector, glip_detector_free> handle_;
};

/* What to look for: phrases between dots, or a list of names. */
class Prompt {
 public:
  Prompt(const Detector &detector, const std::string &phrases) {
    glip_prompt *handle = nullptr;
    check(glip_prompt_new(detector.get(), phrases.c_str(), &handle));
    handle_.reset(handle);
  }

  Prompt(const Detector &detector, const std::vector<std::string> &names) {
    std::vector<const char *> pointers;
    for (const std::string &name : names) {
      pointers.push_back(name.c_str());
    }
    glip_prompt *handle = nullptr;
    check(glip_prompt_from_names(detector.get(), pointers.data(), pointers.size(), &handle));
    handle_.reset(handle);
  }

  const glip_prompt *get() const noexcept { return handle_.get(); }

 private:
  detail::Owned<glip_prompt, glip_prompt_free> handle_;
};

inline Detections Detector::ground(const glip_image &image, const Prompt &prompt,
                                   const glip_ground_options &options) const {
  glip_detections *found = nullptr;
  check(glip_ground(get(), &image, prompt.get(), &options, &found));
  return Detections(found);
}

/* What became of a frame, in memory of others. */
class FrameResultView {
 public:
  explicit FrameResultView(const glip_frame_result *result) noexcept : result_(result) {}

  /* The fields, as glip.h has them. */
  const glip_frame_result *operator->() const noexcept { return result_; }
  /* Empty if the frame was not looked at: see outcome. */
  DetectionsView found() const noexcept { return DetectionsView(result_->found); }
  std::chrono::nanoseconds stamp() const noexcept { return std::chrono::nanoseconds(result_->stamp_ns); }
  std::chrono::nanoseconds latency() const noexcept { return std::chrono::nanoseconds(result_->latency_ns); }

 private:
  const glip_frame_result *result_;
};

/* Looks at a camera's frames on a thread of its own, always at the newest. It ends at once when it is destroyed. */
class Live {
 public:
  /* Takes the result of each frame, on the thread that looks at them. What it throws is lost. */
  using Callback = std::function<void(const FrameResultView &)>;

  /* Callback and user_data of the options are not looked at. */
  Live(const Detector &detector, const Prompt &prompt, Callback callback,
       glip_live_options options = LiveOptions())
      : callback_(std::make_unique<Callback>(std::move(callback))) {
    options.callback = [](const glip_frame_result *result, void *user_data) {
      try {
        (*static_cast<Callback *>(user_data))(FrameResultView(result));
      } catch (...) {
        // An exception must not go through the library.
      }
    };
    options.user_data = callback_.get();
    glip_live *handle = nullptr;
    check(glip_live_new(detector.get(), prompt.get(), &options, &handle));
    handle_.reset(handle);
  }

  Live(Live &&) noexcept = default;
  Live &operator=(Live &&) = delete;

  /* Has a copy of the frame looked at next, in place of one that waits. */
  void push(const glip_image &image, std::uint64_t id, std::chrono::nanoseconds stamp) {
    check(glip_live_push(handle_.get(), &image, id, static_cast<std::uint64_t>(stamp.count())));
  }

  /* The same without a copy: the owner of the image's memory, such as a message of ROS, is held until the frame is done. */
  void push(const glip_image &image, std::uint64_t id, std::chrono::nanoseconds stamp,
            std::shared_ptr<const void> owner) {
    using Owner = std::shared_ptr<const void>;
    auto held = std::make_unique<Owner>(std::move(owner));
    const auto release = [](void *user_data) { delete static_cast<Owner *>(user_data); };
    check(glip_live_push_lent(handle_.get(), &image, id, static_cast<std::uint64_t>(stamp.count()), release,
                              held.release()));
  }

  /* Looks for another prompt from the next frame on, whose results have the number that is returned. */
  std::uint64_t set_prompt(const Prompt &prompt) {
    std::uint64_t number = 0;
    check(glip_live_set_prompt(handle_.get(), prompt.get(), &number));
    return number;
  }

  /* Makes ready for frames of a size, and returns how long one takes after that. */
  std::chrono::nanoseconds warm_up(std::uint32_t width, std::uint32_t height) {
    std::uint64_t time = 0;
    check(glip_live_warm_up(handle_.get(), width, height, &time));
    return std::chrono::nanoseconds(time);
  }

  glip_live_stats stats() const {
    detail::Sized<glip_live_stats> stats;
    check(glip_live_stats_get(handle_.get(), &stats));
    return stats;
  }

  /* Ends when the frame that waits has been looked at. Nothing else may be called after it. */
  glip_live_stats finish() {
    detail::Sized<glip_live_stats> stats;
    check(glip_live_finish(handle_.release(), &stats));
    return stats;
  }

 private:
  // Before the handle, so that it is there until the last frame is done.
  std::unique_ptr<Callback> callback_;
  detail::Owned<glip_live, glip_live_free> handle_;
};

}  // namespace glip

#endif  // GLIP_GLIP_HPP
