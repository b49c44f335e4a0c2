// What is called of ONNX Runtime's C API beside its Go wrapper, which has no names for it.
#ifndef SPATIALFLOW_CAPI_H
#define SPATIALFLOW_CAPI_H
#include <stddef.h>

// Nodes of a graph that an execution provider runs. provider belongs to the session.
typedef struct {
  const char *provider;
  size_t nodes;
} Placed;

// capi_load loads the library and makes its environment, whose log lines go to engineSays. It returns NULL, or what fails; that
// is to be freed. A library that is too old, or none, is no failure here: the wrapper says so.
char *capi_load(const char *path);
// capi_placed writes which providers run how many nodes of a session, at most room of them, and returns how many it wrote; -1
// when the library does not tell.
int capi_placed(void *session, Placed *out, int room);

// signals_save notes the handlers of all signals.
void signals_save(void);
// signals_restore puts those back that were replaced since by handlers on the stack of whatever thread the signal finds, which
// Go does not survive. It returns how many.
int signals_restore(void);
#endif
