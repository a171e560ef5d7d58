/* glip: find in an image, or in a camera's frames, what words describe.
 *
 * https://github.com/glip-rs/glip-rs, docs/robots.md, "C and C++". MIT OR Apache-2.0.
 * Made of the Rust source: change it there, and run `make capi-header`.
 *
 * Conventions:
 *
 * - What can fail returns a `glip_status`; `glip_last_error` has the message of the last failure on this thread.
 * - What is made by a function `..._new`, or comes out of a call through a pointer to a pointer, belongs to the caller,
 *   who gives it back by the function `..._free` of its type. Freeing NULL does nothing. If a call fails, what it
 *   would have given is NULL.
 * - Structs that callers fill begin with `struct_size`, which is `sizeof` of the struct, so that later versions can add
 *   fields. Zero is the default of every other field: `glip_detector_options options = {.struct_size = sizeof options};`
 * - Structs that callers are given may have more fields at their ends later: do not copy arrays of them.
 * - Strings are UTF-8 and end with a zero byte. Boxes are in pixels of the image, from its upper left corner; times are in
 *   nanoseconds.
 * - Every function may be called from any thread. The types say which of their functions may run at the same time on
 *   one handle; freeing is never one of these.
 * - No panic and no exception leaves the library, and none may leave a callback.
 */

#ifndef GLIP_GLIP_H
#define GLIP_GLIP_H

#include <stddef.h>
#include <stdint.h>

// The version of these declarations. It is the number in the library's name (`libglip.so.1`), and changes whenever
// a program must be compiled again.
#define GLIP_ABI_VERSION 1

// What became of a call. Numbers stay what they are.
typedef enum glip_status {
  // It went well.
  GLIP_STATUS_OK = 0,
  // ONNX Runtime is missing, too old, or does not start.
  GLIP_STATUS_RUNTIME = 1,
  // The device that was asked for cannot be used.
  GLIP_STATUS_DEVICE = 2,
  // The model folder is incomplete, damaged or of another version, or its graphs do not fit.
  GLIP_STATUS_MODEL = 3,
  // A graph failed while it ran, for example for lack of memory.
  GLIP_STATUS_RUN = 4,
  // The image cannot be looked at: its size, stride, format or number of bytes do not fit.
  GLIP_STATUS_IMAGE = 5,
  // The prompt cannot be looked for: it is empty, too long, or the model has no such words.
  GLIP_STATUS_PROMPT = 6,
  // A value makes no sense where it was given, such as a prompt that another model encoded.
  GLIP_STATUS_VALUE = 7,
  // An option is outside its range.
  GLIP_STATUS_OPTION = 8,
  // The call was told to stop.
  GLIP_STATUS_STOPPED = 9,
  // The call did not end in time.
  GLIP_STATUS_DEADLINE = 10,
  // A pointer is NULL that must not be, a string is not UTF-8, or a struct has no `struct_size`.
  GLIP_STATUS_ARGUMENT = 11,
  // The library has a fault: please report it, with the message.
  GLIP_STATUS_INTERNAL = 12,
} glip_status;

// How grave a message is.
typedef enum glip_log_level {
  // Nothing.
  GLIP_LOG_LEVEL_OFF = 0,
  // Something failed.
  GLIP_LOG_LEVEL_ERROR = 1,
  // Something is not as it was asked for.
  GLIP_LOG_LEVEL_WARN = 2,
  // What is being done.
  GLIP_LOG_LEVEL_INFO = 3,
  // Details for whoever looks for a fault.
  GLIP_LOG_LEVEL_DEBUG = 4,
  // All details.
  GLIP_LOG_LEVEL_TRACE = 5,
} glip_log_level;

// What became of a frame.
typedef enum glip_outcome {
  // It was looked at.
  GLIP_OUTCOME_FOUND = 0,
  // It was not begun, since its result would have come after the deadline, by what frames took lately.
  GLIP_OUTCOME_NOT_STARTED = 1,
  // It was begun, and given up when the deadline had passed.
  GLIP_OUTCOME_OVERDUE = 2,
  // It could not be looked at.
  GLIP_OUTCOME_FAILED = 3,
} glip_outcome;

// What becomes of the memory that a run on the processor took.
typedef enum glip_arena {
  // It is kept for the next run: fastest.
  GLIP_ARENA_KEPT = 0,
  // What is not in use is given back after every run.
  GLIP_ARENA_SHRUNK = 1,
  // Every tensor is the system's to take and to give back.
  GLIP_ARENA_NONE = 2,
} glip_arena;

// How cuDNN chooses the algorithm of a convolution.
typedef enum glip_convolution_search {
  // By rules of thumb.
  GLIP_CONVOLUTION_SEARCH_HEURISTIC = 0,
  // By trying all: the first call of each size is slow and takes more memory.
  GLIP_CONVOLUTION_SEARCH_EXHAUSTIVE = 1,
} glip_convolution_search;

// How pixels lie in memory. Zero is none of them: an image has to say what it is.
typedef enum glip_pixel_format {
  // Red, green, blue, a byte each.
  GLIP_PIXEL_FORMAT_RGB8 = 1,
  // Blue, green, red, a byte each: OpenCV's order.
  GLIP_PIXEL_FORMAT_BGR8 = 2,
  // Red, green, blue and alpha, which is dropped.
  GLIP_PIXEL_FORMAT_RGBA8 = 3,
  // Blue, green, red and alpha, which is dropped.
  GLIP_PIXEL_FORMAT_BGRA8 = 4,
  // Grey, a byte a pixel.
  GLIP_PIXEL_FORMAT_MONO8 = 5,
  // Grey, 16 bits a pixel, the lower byte first; see `mono16_bits`.
  GLIP_PIXEL_FORMAT_MONO16 = 6,
  // A plane of luma, then one of chroma with half the rows: U and V in turn, for 2 x 2 pixels each.
  GLIP_PIXEL_FORMAT_NV12 = 7,
  // As NV12, V before U.
  GLIP_PIXEL_FORMAT_NV21 = 8,
  // A plane of luma, one of U and one of V, these with half the rows and columns.
  GLIP_PIXEL_FORMAT_I420 = 9,
  // Two pixels in four bytes: Y, U, Y, V. Also called YUY2.
  GLIP_PIXEL_FORMAT_YUYV = 10,
  // Two pixels in four bytes: U, Y, V, Y.
  GLIP_PIXEL_FORMAT_UYVY = 11,
  // A sensor's raw levels behind its filters: red and green in the first row, green and blue in the second.
  GLIP_PIXEL_FORMAT_BAYER_RGGB8 = 12,
  // The same with blue and green, then green and red.
  GLIP_PIXEL_FORMAT_BAYER_BGGR8 = 13,
  // The same with green and blue, then red and green.
  GLIP_PIXEL_FORMAT_BAYER_GBRG8 = 14,
  // The same with green and red, then blue and green.
  GLIP_PIXEL_FORMAT_BAYER_GRBG8 = 15,
} glip_pixel_format;

// What levels of luma and chroma mean, which a buffer does not say.
typedef enum glip_yuv_encoding {
  // BT.601, black at 16 and white at 235: as most cameras give it.
  GLIP_YUV_ENCODING_BT601_LIMITED = 0,
  // BT.601 with all levels from 0 to 255: JPEG, and cameras that decode it.
  GLIP_YUV_ENCODING_BT601_FULL = 1,
  // BT.709, black at 16 and white at 235: video in high definition.
  GLIP_YUV_ENCODING_BT709_LIMITED = 2,
  // BT.709 with all levels from 0 to 255.
  GLIP_YUV_ENCODING_BT709_FULL = 3,
} glip_yuv_encoding;

// What was found in one image, best first; possibly nothing. It never changes, so any number of threads may read it at
// the same time. It lives until it is freed, longer than its detector if need be.
typedef struct glip_detections glip_detections;

// A loaded model. Any number of threads may use it at the same time; what they ask runs one after another, or side by side
// with `callers` of `glip_detector_options`. Prompts, detections and live detections made with it may outlive it.
typedef struct glip_detector glip_detector;

// Looks at a camera's frames on a thread of its own, always at the newest. Any number of threads may push frames and call
// whatever else there is at the same time, but `glip_live_finish` and `glip_live_free`, which come last.
typedef struct glip_live glip_live;

// What to look for, made ready for one detector's model. It is made once and used for any number of images.
// It never changes, so any number of threads may use it at the same time, and it may be freed before what was begun with it.
typedef struct glip_prompt glip_prompt;

// Takes a message, on whatever thread it arises, perhaps on several at a time. The message lives until it returns.
// It may not call this library.
typedef void (*glip_log_callback)(enum glip_log_level level, const char *message, void *user_data);

// Options of a detector. Zero is the default of each.
typedef struct glip_detector_options {
  // `sizeof(glip_detector_options)`.
  size_t struct_size;
  // The model's folder. NULL: the small model in the library, which finds the 80 things of COCO.
  const char *model_dir;
  // The file of ONNX Runtime, 1.25 or later. NULL: what the environment variable ORT_DYLIB_PATH says; if it says nothing,
  // the first that is found beside the program, in Python environments that have the package onnxruntime, or by
  // the system's loader. A process has one, which the first detector loads.
  const char *onnxruntime;
  // What to run on: "cpu", "cuda:0", "tensorrt:0", "coreml", "directml:0" or "openvino", as the library was built. NULL:
  // "cpu".
  const char *device;
  // 1: if the device cannot be used, the CPU is, and a warning is logged. 0: that is an error.
  uint32_t allow_cpu_fallback;
  // Threads of one call. 0: one for each core.
  uint32_t threads;
  // How many calls run at the same time; each has a copy of the weights. 0: 1.
  uint32_t callers;
  // 1: threads sleep while they wait for one another, and leave the processor to others. 0: they spin.
  uint32_t no_spinning;
  // 1: memory is taken as it is needed, for images whose sizes change without end. 0: it is planned for each size.
  uint32_t no_memory_pattern;
  // A `glip_arena`.
  uint32_t arena;
  // Cores that threads are bound to, one for each, in place of `threads`; the first is the calling thread's, which is the
  // caller's to bind; a live detection binds its own. NULL: none.
  const uint32_t *cores;
  // How many cores there are in `cores`.
  size_t core_count;
  // The shorter side that images are resized to, with `long_side`. 0: the model's.
  uint32_t short_side;
  // The longest that the longer side may be then.
  uint32_t long_side;
  // The score that detections must be over. 0: what the model recommends.
  float score_threshold;
  // The most detections in an image. 0: what the model recommends.
  uint32_t max_detections;
  // 1: the GPU's work is recorded once for each size of input and replayed from then on (device "cuda" and models exported for a
  // GPU alone). The first call of a size takes several times as long, and its buffers are kept: right for a camera of one
  // resolution, wrong for a folder of photographs. While a size is recorded, code of your own must not use CUDA.
  uint32_t cuda_graphs;
  // 1: float32 products may be rounded to the 10 bits of TF32, which tensor cores multiply several times faster. 0: a float32 model
  // gives on the GPU what it gives on the CPU.
  uint32_t cuda_tf32;
  // A `glip_convolution_search`.
  uint32_t cuda_convolutions;
  // 1: TensorRT may compute a float32 model in float16: accuracy is lost, and a float16 model does not need it.
  uint32_t tensorrt_fp16;
  // A folder that keeps what TensorRT compiled, which takes minutes, for the next start, made if it is not there. NULL: none.
  const char *tensorrt_engine_cache;
} glip_detector_options;

// A place in memory where an image, or one plane of it, is.
typedef struct glip_plane {
  // Its first byte.
  const uint8_t *data;
  // How many bytes there are. More than it takes are no error; where a frame is copied, they are copied too.
  size_t size;
  // Bytes from one row to the next (`step` in ROS and OpenCV, `bytesperline` in V4L2). 0 in an image of one piece:
  // nothing pads its rows.
  size_t stride;
} glip_plane;

// An image in the caller's memory, which is read where it is, and only during the call.
typedef struct glip_image {
  // `sizeof(glip_image)`.
  size_t struct_size;
  // Pixels in a row.
  uint32_t width;
  // Rows.
  uint32_t height;
  // A `glip_pixel_format`.
  uint32_t format;
  // A `glip_yuv_encoding`, for formats of luma and chroma.
  uint32_t yuv_encoding;
  // Of GLIP_PIXEL_FORMAT_MONO16: how many bits of a level are in use, 8 to 16; 0 for 16.
  uint32_t mono16_bits;
  // How many of `planes` there are; 0 for 1. One holds the whole image, of whose planes each follows the one before.
  uint32_t plane_count;
  // Where the image is.
  struct glip_plane planes[3];
} glip_image;

// Options of one call. Zero is the default of each.
typedef struct glip_ground_options {
  // `sizeof(glip_ground_options)`.
  size_t struct_size;
  // The longest that the call may take, in nanoseconds; then it ends with GLIP_STATUS_DEADLINE. 0: as long as it takes.
  uint64_t timeout_ns;
  // The score that detections must be over. 0: the detector's.
  float score_threshold;
  // The most detections. 0: the detector's.
  uint32_t max_detections;
  // The most detections of each phrase. 0: the detector's.
  uint32_t max_per_phrase;
  // 1: of boxes that overlap, one is kept, whatever their phrases. 0: as the detector's model recommends.
  uint32_t nms_across_phrases;
} glip_ground_options;

// A phrase that was found in an image.
typedef struct glip_detection {
  // The left edge of the box, in pixels of the image. Edges are continuous: a box over the first ten columns has
  // `x1` 0 and `x2` 10.
  float x1;
  // The top edge.
  float y1;
  // The right edge.
  float x2;
  // The bottom edge.
  float y2;
  // How sure the model is, from 0 to 1.
  float score;
  // How well the phrase fits, whatever the box, from 0 to 1.
  float phrase_score;
  // The place of the phrase among those that were asked for, from 0.
  size_t phrase_index;
  // The phrase, as it was given. It lives as long as the detections.
  const char *phrase;
  // From frame to frame the same for the same thing, from 1; 0 without tracks (`glip_live_options`), and for what may not
  // begin one.
  uint64_t track_id;
  // How its centre moves to the right, in pixels a second; 0 without a track.
  float velocity_x;
  // How its centre moves down.
  float velocity_y;
} glip_detection;

// What became of a frame that was not dropped for a newer one.
typedef struct glip_frame_result {
  // The frame's number, as it was pushed.
  uint64_t id;
  // When the frame was taken, as it was pushed.
  uint64_t stamp_ns;
  // The number of the prompt that it was asked for: 0 for the first, then what `glip_live_set_prompt` gave.
  uint64_t prompt;
  // From its push to its result.
  uint64_t latency_ns;
  // If it was not started: the latency that was expected.
  uint64_t expected_ns;
  // What became of it.
  enum glip_outcome outcome;
  // If it failed: how.
  enum glip_status status;
  // If it was looked at: what was found, which lives as long as this result. Otherwise NULL.
  const struct glip_detections *found;
  // If it failed: why, which lives as long as this result. Otherwise NULL.
  const char *error;
} glip_frame_result;

// Takes the result of a frame, on the thread that looks at frames: while it runs, no frame is looked at. The result lives until it
// returns. It may call any function but `glip_live_warm_up`, `glip_live_finish` and `glip_live_free`.
typedef void (*glip_result_callback)(const struct glip_frame_result *result, void *user_data);

// Options of live detection. Zero is the default of each.
typedef struct glip_live_options {
  // `sizeof(glip_live_options)`.
  size_t struct_size;
  // Called with the result of every frame that was not dropped, in their order. NULL: none; `glip_live_latest` has the last.
  glip_result_callback callback;
  // Given to the callback. It must be there until `glip_live_finish` or `glip_live_free` has returned.
  void *user_data;
  // The longest that a result may come after its frame was pushed: what would come later is not begun, what does is given up.
  // 0: none.
  uint64_t deadline_ns;
  // 1: what is found has ids that stay from frame to frame (`track_id`), for which frames need different stamps. 0: it has none.
  uint32_t tracks;
  // The score from which on a detection may begin a track; those below it only continue one. 0: all may.
  float track_start_score;
  // How much a detection must overlap with where a track should be to continue it: intersection over union. 0: 0.2.
  float track_min_iou;
  // How long a track waits for its thing to be found again. 0: one second.
  uint64_t track_max_unseen_ns;
} glip_live_options;

// Takes back memory that was lent. It is called once, on any thread, and may not call this library.
typedef void (*glip_release_callback)(void *user_data);

// How long something took, in the last 512 frames that were looked at.
typedef struct glip_latency {
  // Half of the frames took at most so long.
  uint64_t p50_ns;
  // 95 of 100 frames took at most so long.
  uint64_t p95_ns;
  // 99 of 100 frames took at most so long.
  uint64_t p99_ns;
  // The longest since the start, not of the last frames alone.
  uint64_t max_ns;
} glip_latency;

// How many frames there were since the start, and how long the last of them took.
typedef struct glip_live_stats {
  // `sizeof(glip_live_stats)`, set by the caller.
  size_t struct_size;
  // Frames that were pushed.
  uint64_t pushed;
  // Frames that were looked at.
  uint64_t done;
  // Frames for which a newer one came before their turn.
  uint64_t dropped;
  // Frames that were not begun or given up because of the deadline.
  uint64_t late;
  // Frames that could not be looked at.
  uint64_t failed;
  // The memory of the process that is in use, in bytes; 0 where the system does not say.
  uint64_t resident_bytes;
  // From a frame's push to its turn.
  struct glip_latency waiting;
  // From its pixels to the network's input.
  struct glip_latency preprocess;
  // The image encoder.
  struct glip_latency image_encoder;
  // The fusion of image and words.
  struct glip_latency fusion;
  // The head.
  struct glip_latency head;
  // From what the head says to detections.
  struct glip_latency postprocess;
  // From a frame's push to its result.
  struct glip_latency total;
} glip_live_stats;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The `GLIP_ABI_VERSION` of the library that is loaded: another than the header's if that is of another version.
uint32_t glip_abi_version(void);

// The version of the library, such as "0.1.0".
const char *glip_version(void);

// The message of the last call that failed on this thread: what is wrong, and what to do about it. Empty if none did.
// It is there until the next call fails on this thread. Calls that go well leave it as it is.
const char *glip_last_error(void);

// Has messages up to `max_level`, a `glip_log_level`, given to a callback, with `user_data`; GLIP_LOG_LEVEL_WARN is a good
// choice. NULL, or GLIP_LOG_LEVEL_OFF, ends that, and is how it is at first. Once this has returned, the callback of before is not called
// any more. It may not be called from a log callback.
enum glip_status glip_set_log_callback(glip_log_callback callback,
                                       void *user_data,
                                       uint32_t max_level);

// Loads a model. `options` may be NULL, which is all defaults.
enum glip_status glip_detector_new(const struct glip_detector_options *options, struct glip_detector **detector);

// Gives a detector back.
void glip_detector_free(struct glip_detector *detector);

// Makes a prompt of phrases between dots, such as "red cup . person": `phrase_index` of a detection is the place among
// them, from 0.
enum glip_status glip_prompt_new(const struct glip_detector *detector,
                                 const char *phrases,
                                 struct glip_prompt **prompt);

// Makes a prompt of a list of names, as data sets spell them ("traffic_light"). There may be any number: those that do
// not fit into one text of the model's are asked for in several, of the same encoded image.
enum glip_status glip_prompt_from_names(const struct glip_detector *detector,
                                        const char *const *names,
                                        size_t count,
                                        struct glip_prompt **prompt);

// Gives a prompt back.
void glip_prompt_free(struct glip_prompt *prompt);

// The format of a name, as ROS has it in an image's `encoding` ("bgr8", "yuv422_yuy2", "bayer_rggb8"), or as in this
// header in small letters ("nv12").
enum glip_status glip_pixel_format_parse(const char *name, uint32_t *format);

// Finds the prompt's phrases in the image. `options` may be NULL, which is all defaults.
enum glip_status glip_ground(const struct glip_detector *detector,
                             const struct glip_image *image,
                             const struct glip_prompt *prompt,
                             const struct glip_ground_options *options,
                             struct glip_detections **detections);

// How many detections there are; 0 for NULL.
size_t glip_detections_count(const struct glip_detections *detections);

// The detection of this index, from 0; NULL beyond the last. It lives as long as the detections.
const struct glip_detection *glip_detections_get(const struct glip_detections *detections, size_t index);

// Gives detections back.
void glip_detections_free(struct glip_detections *detections);

// Begins to wait for frames, to look for the prompt in them. `options` may be NULL, which is all defaults.
enum glip_status glip_live_new(const struct glip_detector *detector,
                               const struct glip_prompt *prompt,
                               const struct glip_live_options *options,
                               struct glip_live **live);

// Has a copy of the frame looked at next. It waits for nothing but the copy, and for at most one frame there is room: one that
// waits is dropped, and counted. `id` and `stamp_ns` are the caller's, and come back with the result; tracks go by
// stamps.
enum glip_status glip_live_push(const struct glip_live *live,
                                const struct glip_image *image,
                                uint64_t id,
                                uint64_t stamp_ns);

// As `glip_live_push`, without a copy: the image's memory is lent, and must not be written to until `release` is called with `user_data`:
// once, for all planes. That is when the frame has been looked at or dropped, and also where this call fails.
enum glip_status glip_live_push_lent(const struct glip_live *live,
                                     const struct glip_image *image,
                                     uint64_t id,
                                     uint64_t stamp_ns,
                                     glip_release_callback release,
                                     void *user_data);

// Looks for another prompt from the next frame on. Results of it have `number`, which may be NULL.
enum glip_status glip_live_set_prompt(const struct glip_live *live, const struct glip_prompt *prompt, uint64_t *number);

// What became of the last frame that was looked at; NULL if there was none yet. It belongs to the caller.
enum glip_status glip_live_latest(const struct glip_live *live, struct glip_frame_result **result);

// Gives a result back.
void glip_frame_result_free(struct glip_frame_result *result);

// Looks at empty pictures of this size, so that no frame of the camera's is the first of its size: that one takes longer, on a
// GPU often by seconds. Waits until it is done. `time_ns`, which may be NULL, is how long a frame takes after that.
enum glip_status glip_live_warm_up(const struct glip_live *live,
                                   uint32_t width,
                                   uint32_t height,
                                   uint64_t *time_ns);

// How many frames there were, how long they took, and how much memory the process has. The caller sets `struct_size` of
// `stats`, and the rest is filled in.
enum glip_status glip_live_stats_get(const struct glip_live *live, struct glip_live_stats *stats);

// Ends when the frame that waits, if one does, has been looked at, and gives the handle back, whatever it returns. `stats`, which may be
// NULL, is filled in as by `glip_live_stats_get`.
enum glip_status glip_live_finish(struct glip_live *live,
                                  struct glip_live_stats *stats);

// Ends at once, what runs included, and gives the handle back.
void glip_live_free(struct glip_live *live);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* GLIP_GLIP_H */
