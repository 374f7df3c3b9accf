package agent

import (
	"testing"
	"time"
)

func TestHopes(t *testing.T) {
	time.Sleep(time.Second)
	Eventually(t)
}

func Eventually(t *testing.T) { t.Helper() }
