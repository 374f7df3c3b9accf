package controlplane

import (
	"context"
	"errors"
	"testing"

	"nixfleet/controlplane/api"
	"nixfleet/controlplane/core"
)

func TestAFullQueueIsBusyAndAReducerThatEndedIsUnavailable(t *testing.T) {
	r := &reducer{inputs: make(chan request, inputCapacity), done: make(chan struct{})}
	r.metrics = newMetrics(func() float64 { return 0 }, func() float64 { return 0 })
	for range inputCapacity {
		r.inputs <- request{}
	}
	if _, err := r.Submit(t.Context(), core.Tick{}); !errors.Is(err, api.ErrBusy) {
		t.Errorf("full: %v", err)
	}
	<-r.inputs
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Submit(gone, core.Tick{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that left: %v", err)
	}
	close(r.done)
	if _, err := r.Submit(t.Context(), core.Tick{}); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("ended: %v", err)
	}
}

func TestABatchTakesWhatWaitsUpToItsBounds(t *testing.T) {
	r := &reducer{inputs: make(chan request, inputCapacity)}
	events := request{input: core.Events{Received: make([]core.Received, 200)}}
	for range 300 {
		r.inputs <- request{input: core.Tick{}}
	}
	if got := len(r.batch(request{input: core.Tick{}})); got != core.MaxBatch {
		t.Errorf("%d inputs in a batch", got)
	}
	for len(r.inputs) > 0 {
		<-r.inputs
	}
	for range 10 {
		r.inputs <- events
	}
	if got := len(r.batch(events)); got != 6 {
		t.Errorf("%d requests of 200 events in a batch", got)
	}
}

func TestTheHubKeepsOneWaiterPerHostAndLosesNoWake(t *testing.T) {
	h := newHub([]string{"a"})
	if !h.Queued("a") || h.Queued("b") {
		t.Error("what was queued at the start")
	}
	wake, over, leave := h.Join("b")
	h.set("b", true)
	h.set("b", true)
	select {
	case <-wake:
	default:
		t.Error("not woken")
	}
	_, over2, leave2 := h.Join("b")
	select {
	case <-over:
	default:
		t.Error("the first poll goes on")
	}
	leave() // of the first: the second stays
	if h.Parked() != 1 {
		t.Errorf("%d parked", h.Parked())
	}
	select {
	case <-over2:
		t.Error("the second poll was ended")
	default:
	}
	leave2()
	h.set("b", false)
	if h.Parked() != 0 || h.Queued("b") {
		t.Error("something is left")
	}
}
