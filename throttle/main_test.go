package throttle_test

import (
	"testing"

	"github.com/pgbackfill/pgbackfill/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
