package telemetry

import "net/http"

// Handler is what an admin address answers with.
func Handler(a Admin) http.Handler { return a.handler() }
