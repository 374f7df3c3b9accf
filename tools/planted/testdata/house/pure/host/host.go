// Package host is everything a pure package may not be.
package host

import (
	"fmt"
	"os"
	clockless "time"

	"nixfleet/fleet"
)

// Step reads the clock, prints, reads a file, starts a goroutine, and reaches agent through fleet.
func Step() {
	fmt.Println(clockless.Now(), os.Args)
	go fleet.Plan()
}
