package backfill

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
	"github.com/pgbackfill/pgbackfill/internal/pgtest/lineprogram"
)

// The engine leaves no goroutine behind, whatever was done to it. Tried with a listener to the orders that is not waited for.
func TestMain(m *testing.M) {
	lineprogram.Main()
	pgtest.Main(m)
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, "goroutines are left at the end:", err)
		os.Exit(1)
	}
}
