/* Looks for words in a camera's buffer.
 *
 *   ground_c FRAME WIDTH HEIGHT FORMAT PROMPT [MODEL]
 *
 * FRAME is a file of a frame's bytes as a camera gives them, FORMAT its name in ROS, such as bgr8, nv12 or yuyv. MODEL is
 * a model's folder; without it, the small model in the library is used.
 */
#include <glip/glip.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char *what) {
  fprintf(stderr, "error: cannot %s: %s\n", what, glip_last_error());
  return EXIT_FAILURE;
}

/* The bytes of a file, which the caller frees; NULL if it cannot be read. */
static unsigned char *read_file(const char *path, size_t *size) {
  unsigned char *bytes = NULL;
  FILE *file = fopen(path, "rb");
  long end = -1;
  if (file && fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) > 0 && fseek(file, 0, SEEK_SET) == 0 &&
      (bytes = malloc((size_t)end)) != NULL) {
    *size = fread(bytes, 1, (size_t)end, file);
  }
  if (file) {
    fclose(file);
  }
  return bytes;
}

static void print(const glip_detections *found) {
  for (size_t i = 0; i < glip_detections_count(found); i++) {
    const glip_detection *one = glip_detections_get(found, i);
    printf("%s %.2f from (%.0f, %.0f) to (%.0f, %.0f)\n", one->phrase, one->score, one->x1, one->y1, one->x2, one->y2);
  }
}

/* Loads a model, makes a prompt, and looks at one image: for the next, the last step is enough. */
static int look(const glip_detector_options *options, const glip_image *image, const char *phrases) {
  glip_detector *detector = NULL;
  glip_prompt *prompt = NULL;
  glip_detections *found = NULL;
  int code = EXIT_SUCCESS;
  if (glip_detector_new(options, &detector) != GLIP_STATUS_OK) {
    code = fail("load the model");
  } else if (glip_prompt_new(detector, phrases, &prompt) != GLIP_STATUS_OK) {
    code = fail("read the prompt");
  } else if (glip_ground(detector, image, prompt, NULL, &found) != GLIP_STATUS_OK) {
    code = fail("look at the frame");
  } else {
    print(found);
  }
  glip_detections_free(found);
  glip_prompt_free(prompt);
  glip_detector_free(detector);
  return code;
}

int main(int argc, char **argv) {
  if (argc != 6 && argc != 7) {
    fprintf(stderr, "usage: %s FRAME WIDTH HEIGHT FORMAT PROMPT [MODEL]\n", argv[0]);
    return EXIT_FAILURE;
  }
  glip_image image = {.struct_size = sizeof image};
  image.width = (uint32_t)strtoul(argv[2], NULL, 10);
  image.height = (uint32_t)strtoul(argv[3], NULL, 10);
  if (glip_pixel_format_parse(argv[4], &image.format) != GLIP_STATUS_OK) {
    return fail("read the format");
  }
  unsigned char *bytes = read_file(argv[1], &image.planes[0].size);
  if (!bytes) {
    fprintf(stderr, "error: cannot read %s\n", argv[1]);
    return EXIT_FAILURE;
  }
  image.planes[0].data = bytes; /* its stride is 0: nothing pads the rows */

  glip_detector_options options = {.struct_size = sizeof options};
  options.model_dir = argc == 7 ? argv[6] : NULL;
  int code = look(&options, &image, argv[5]);
  free(bytes);
  return code;
}
