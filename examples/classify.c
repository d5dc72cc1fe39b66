/* maru from C: the classes of a photo, best first: classify_c MODEL PHOTO */
#include <maru/c.h>
#include <stdio.h>

int main(int argc, char** argv) {
  maru_model* model = NULL;
  maru_session* session = NULL;
  maru_score scores[5];
  size_t count = 0;
  if (argc != 3) {
    fputs("usage: classify_c MODEL PHOTO\n", stderr);
    return 2;
  }
  /* Everything that can fail returns a status, and says why in maru_last_error(). */
  maru_status status = maru_model_load(argv[1], NULL, &model);
  if (status == MARU_OK) status = maru_session_new(model, &session);
  if (status == MARU_OK) status = maru_session_load_photo_file(session, argv[2], 0);
  if (status == MARU_OK) status = maru_session_run(session);
  if (status == MARU_OK) status = maru_session_top(session, 0, scores, 5, &count);
  if (status != MARU_OK) fprintf(stderr, "%s\n", maru_last_error());
  for (size_t i = 0; i < count; ++i) printf("%g %s\n", scores[i].score, scores[i].label);
  maru_session_free(session);
  maru_model_free(model);
  return status == MARU_OK ? 0 : 1;
}
