package producer_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow/natsserver/natstest"
)

func TestMain(m *testing.M) {
	natstest.Main()
	goleak.VerifyTestMain(m)
}
