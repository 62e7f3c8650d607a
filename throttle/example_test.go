package throttle_test

import (
	"context"
	"fmt"
	"log"

	"github.com/pgbackfill/pgbackfill/throttle"
)

// All workers of a process share one limit of rows a second.
func ExampleRate() {
	rate, err := throttle.NewRate(50_000)
	if err != nil {
		log.Fatal(err)
	}
	if err := rate.Wait(context.Background(), 5_000); err == nil { // the first chunk starts at once
		fmt.Println("5000 rows may be walked")
	}
	rate.SetRate(0) // no limit any more, also for those who wait
	// Output: 5000 rows may be walked
}
