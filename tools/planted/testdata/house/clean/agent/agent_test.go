package agent

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestSleepInABubbleIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { time.Sleep(time.Hour) })
}
