#define _GNU_SOURCE
#include "capi.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"

// ONNX Runtime's functions are pointers one after the other; a version only adds to the end. TestSlots compares these places
// with onnxruntime_c_api.h.
enum {
  SLOT_GetErrorMessage = 2,
  SLOT_CreateEnvWithCustomLogger = 4,
  SLOT_ReleaseStatus = 93,
  SLOT_Session_GetEpGraphAssignmentInfo = 407,
  SLOT_EpAssignedSubgraph_GetEpName = 408,
  SLOT_EpAssignedSubgraph_GetNodes = 409,
};
enum { API_VERSION = 24, LEVEL_ERROR = 3 };

typedef struct {
  void **(*GetApi)(uint32_t version);
  const char *(*GetVersionString)(void);
} ApiBase;

typedef void (*LoggingFunction)(void *, int, const char *, const char *, const char *, const char *);
typedef const char *(*GetErrorMessage)(const void *status);
typedef void *(*CreateEnvWithCustomLogger)(LoggingFunction, void *, int level, const char *name, void **env);
typedef void (*ReleaseStatus)(void *status);
typedef void *(*GetEpGraphAssignmentInfo)(const void *session, const void *const **subgraphs, size_t *count);
typedef void *(*GetEpName)(const void *subgraph, const char **name);
typedef void *(*GetNodes)(const void *subgraph, const void *const **nodes, size_t *count);

static void **api;

static void say(void *unused, int severity, const char *category, const char *id, const char *where, const char *message) {
  engineSays(severity, (char *)where, (char *)message);
}

char *capi_load(const char *path) {
  void *library = dlopen(path, RTLD_LAZY);
  if (!library) return NULL;
  const ApiBase *(*base)(void) = (const ApiBase *(*)(void))dlsym(library, "OrtGetApiBase");
  if (!base || !(api = base()->GetApi(API_VERSION))) return NULL;
  void *env;
  void *status = ((CreateEnvWithCustomLogger)api[SLOT_CreateEnvWithCustomLogger])(say, NULL, LEVEL_ERROR, "spatial-flow", &env);
  if (!status) return NULL;
  char *message = strdup(((GetErrorMessage)api[SLOT_GetErrorMessage])(status));
  ((ReleaseStatus)api[SLOT_ReleaseStatus])(status);
  return message;
}

static int failed(void *status) {
  if (!status) return 0;
  ((ReleaseStatus)api[SLOT_ReleaseStatus])(status);
  return 1;
}

int capi_placed(void *session, Placed *out, int room) {
  const void *const *subgraphs;
  size_t count, used = 0;
  if (!api || failed(((GetEpGraphAssignmentInfo)api[SLOT_Session_GetEpGraphAssignmentInfo])(session, &subgraphs, &count))) return -1;
  for (size_t i = 0; i < count; i++) {
    const char *name;
    const void *const *nodes;
    size_t n, at = 0;
    if (failed(((GetEpName)api[SLOT_EpAssignedSubgraph_GetEpName])(subgraphs[i], &name))) return -1;
    if (failed(((GetNodes)api[SLOT_EpAssignedSubgraph_GetNodes])(subgraphs[i], &nodes, &n))) return -1;
    while (at < used && strcmp(out[at].provider, name) != 0) at++;
    if (at == used) {
      if (used == (size_t)room) return -1;
      out[used++] = (Placed){name, 0};
    }
    out[at].nodes += n;
  }
  return (int)used;
}

static struct sigaction saved[NSIG];

void signals_save(void) {
  for (int s = 1; s < NSIG; s++) sigaction(s, NULL, &saved[s]);
}

int signals_restore(void) {
  int restored = 0;
  for (int s = 1; s < NSIG; s++) {
    struct sigaction now;
    if (sigaction(s, NULL, &now) != 0 || now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN) continue;
    if (now.sa_flags & SA_ONSTACK || now.sa_handler == saved[s].sa_handler) continue;
    if (sigaction(s, &saved[s], NULL) == 0) restored++;
  }
  return restored;
}
