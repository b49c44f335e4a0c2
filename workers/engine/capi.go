package engine

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "capi.h"
import "C"

import (
	"errors"
	"reflect"
	"strings"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

// prepareEnvironment loads the library and makes its environment before the wrapper does, which then gets the same one: only so
// its log lines come here.
func prepareEnvironment(path string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	if message := C.capi_load(name); message != nil {
		defer C.free(unsafe.Pointer(message))
		return errors.New(C.GoString(message))
	}
	return nil
}

//export engineSays
func engineSays(severity C.int, where, message *C.char) {
	said.say(int(severity), C.GoString(where), C.GoString(message))
}

// placed tells which execution providers run how many nodes of a session's graph, by their short names; nil when the library does
// not tell. The graph is the one after simplification.
func placed(session *ort.DynamicAdvancedSession) map[string]int {
	inner := reflect.ValueOf(session).Elem().FieldByName("s") // the wrapper has no method for it; TestPlacement looks whether it still has the fields
	if inner.Kind() != reflect.Pointer || inner.IsNil() {
		return nil
	}
	pointer := inner.Elem().FieldByName("ortSession")
	if pointer.Kind() != reflect.Pointer || pointer.IsNil() {
		return nil
	}
	var out [8]C.Placed
	count := C.capi_placed(pointer.UnsafePointer(), &out[0], C.int(len(out)))
	if count < 0 {
		return nil
	}
	nodes := map[string]int{}
	for _, p := range out[:count] {
		name, _ := strings.CutSuffix(C.GoString(p.provider), "ExecutionProvider")
		nodes[strings.ToLower(name)] = int(p.nodes)
	}
	return nodes
}

// saveSignals notes the process' signal handlers, before a library can replace them.
func saveSignals() { C.signals_save() }

// restoreSignals puts back what a library has replaced since. CUDA does so, without SA_ONSTACK, and Go ends with "non-Go code set
// up signal handler without SA_ONSTACK flag" at the next such signal: at SIGTERM, when the worker is to stop.
func restoreSignals() int { return int(C.signals_restore()) }
