package gateway_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(crowdOf); address != "" {
		crowd(address)
		return
	}
	goleak.VerifyTestMain(m)
}
