/* A camera's frames whose planes are in buffers of their own, as V4L2's multi-planar API and Jetson give them.
 *
 *   live_c FRAME WIDTH HEIGHT PROMPT
 *
 * FRAME is a file of a frame in NV12. The camera here gives it twice: the first is copied, the second is lent.
 */
#include <glip/glip.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char *what) {
  fprintf(stderr, "error: cannot %s: %s\n", what, glip_last_error());
  return EXIT_FAILURE;
}

/* A frame of the driver's. */
typedef struct {
  unsigned char *luma;
  unsigned char *chroma;
} buffers;

/* Where the driver gets its buffers back: VIDIOC_QBUF. */
static void give_back(void *user_data) {
  buffers *frame = user_data;
  free(frame->luma);
  free(frame->chroma);
  free(frame);
}

/* Where the driver fills its buffers: VIDIOC_DQBUF. NULL if it cannot. */
static buffers *take(const char *path, size_t luma, size_t chroma) {
  buffers *frame = calloc(1, sizeof *frame);
  FILE *file = fopen(path, "rb");
  int filled = file && frame && (frame->luma = malloc(luma)) != NULL && (frame->chroma = malloc(chroma)) != NULL &&
               fread(frame->luma, 1, luma, file) == luma && fread(frame->chroma, 1, chroma, file) == chroma;
  if (file) {
    fclose(file);
  }
  if (frame && !filled) {
    give_back(frame);
    frame = NULL;
  }
  return frame;
}

/* Called on the thread that looks at frames. */
static void print(const glip_frame_result *result, void *user_data) {
  (void)user_data;
  printf("frame %llu:", (unsigned long long)result->id);
  if (result->outcome == GLIP_OUTCOME_FAILED) {
    printf(" %s", result->error);
  }
  for (size_t i = 0; i < glip_detections_count(result->found); i++) {
    const glip_detection *one = glip_detections_get(result->found, i);
    printf(" %s %.2f from (%.0f, %.0f) to (%.0f, %.0f)", one->phrase, one->score, one->x1, one->y1, one->x2, one->y2);
  }
  printf("\n");
}

static int push_two(glip_live *live, const char *path, uint32_t width, uint32_t height) {
  const size_t luma = (size_t)width * height, chroma = luma / 2;
  for (uint64_t id = 0; id < 2; id++) {
    buffers *frame = take(path, luma, chroma);
    if (!frame) {
      fprintf(stderr, "error: cannot read a frame of this size from %s\n", path);
      return EXIT_FAILURE;
    }
    glip_image image = {.struct_size = sizeof image, .width = width, .height = height};
    image.format = GLIP_PIXEL_FORMAT_NV12;
    image.plane_count = 2;
    image.planes[0] = (glip_plane){.data = frame->luma, .size = luma, .stride = width};
    image.planes[1] = (glip_plane){.data = frame->chroma, .size = chroma, .stride = width};
    const uint64_t stamp_ns = id * 33000000;
    glip_status status;
    if (id == 0) {
      status = glip_live_push(live, &image, id, stamp_ns);
      give_back(frame);
    } else {
      status = glip_live_push_lent(live, &image, id, stamp_ns, give_back, frame);
    }
    if (status != GLIP_STATUS_OK) {
      return fail("push a frame");
    }
  }
  return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: %s FRAME WIDTH HEIGHT PROMPT\n", argv[0]);
    return EXIT_FAILURE;
  }
  const uint32_t width = (uint32_t)strtoul(argv[2], NULL, 10), height = (uint32_t)strtoul(argv[3], NULL, 10);
  glip_detector *detector = NULL;
  glip_prompt *prompt = NULL;
  glip_live *live = NULL;
  glip_live_options options = {.struct_size = sizeof options, .callback = print};
  int code = EXIT_SUCCESS;
  if (glip_detector_new(NULL, &detector) != GLIP_STATUS_OK) {
    code = fail("load the model");
  } else if (glip_prompt_new(detector, argv[4], &prompt) != GLIP_STATUS_OK) {
    code = fail("read the prompt");
  } else if (glip_live_new(detector, prompt, &options, &live) != GLIP_STATUS_OK) {
    code = fail("look at frames");
  } else {
    code = push_two(live, argv[1], width, height);
    /* The frame that waits is looked at, too. */
    glip_live_stats stats = {.struct_size = sizeof stats};
    if (glip_live_finish(live, &stats) != GLIP_STATUS_OK) {
      code = fail("finish");
    }
    printf("%llu frames, %llu looked at, %llu dropped\n", (unsigned long long)stats.pushed,
           (unsigned long long)stats.done, (unsigned long long)stats.dropped);
  }
  glip_prompt_free(prompt);
  glip_detector_free(detector);
  return code;
}
