package gateway_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/gateway"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(crowdOf); address != "" {
		crowd(address)
		return
	}
	if os.Getenv(asProgram) != "" {
		service.Main("gateway", "", gateway.Run)
		return
	}
	if address := os.Getenv(watchersOf); address != "" {
		watch(address)
		return
	}
	goleak.VerifyTestMain(m)
}
