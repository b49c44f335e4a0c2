package producer_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow/natsserver/natstest"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer"
)

// asProgram, set in its environment, makes the test's binary a producer.
const asProgram = "SPATIALFLOW_TEST_PRODUCER"

func TestMain(m *testing.M) {
	natstest.Main()
	if os.Getenv(asProgram) != "" {
		service.Main("producer", "", producer.Run)
		return
	}
	goleak.VerifyTestMain(m)
}
