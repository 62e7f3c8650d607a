package verify

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/pgbackfill/pgbackfill/backfill"
	"github.com/pgbackfill/pgbackfill/internal/human"
	"github.com/pgbackfill/pgbackfill/internal/pgsql"
)

// Sampled is what a sample of the rows says of all of them.
type Sampled struct {
	// Fraction is the part of the keys that was looked at: each of them with this probability, whatever the others are.
	Fraction float64 `json:"fraction"`
	// Found counts the wrong rows among them. With Confidence there are at most AtMost in all.
	Found      int64   `json:"found"`
	Confidence float64 `json:"confidence"`
	AtMost     int64   `json:"at_most"`
}

// confidence is that of the bound.
const confidence = 0.95

func (s Sampled) String() string {
	return fmt.Sprintf("a sample of %s%% was read: with %g%% confidence at most %s of all are wrong",
		strconv.FormatFloat(s.Fraction*100, 'g', 4, 64), s.Confidence*100, human.Plural(s.AtMost, "row"))
}

// sampled says what wrong rows in a sample say of all.
func sampled(fraction float64, found int64) *Sampled {
	return &Sampled{Fraction: fraction, Found: found, Confidence: confidence, AtMost: atMost(fraction, found, confidence)}
}

// atMost is the greatest number of wrong rows of which a sample with this fraction would have no more than found with a
// probability of more than 1 - confidence: the exact upper bound of the binomial distribution (Clopper and Pearson, 1934),
// turned to the number of trials. Beyond some thousands the normal distribution stands for it.
func atMost(fraction float64, found int64, confidence float64) int64 {
	if found > 5000 {
		const z = 1.6448536269514722 // the 95th percentile
		n := float64(found)
		return int64(math.Ceil((n + z*z/2 + z*math.Sqrt(n*(1-fraction)+z*z/4)) / fraction))
	}
	likely := func(all int64) bool { return atMostProbability(all, found, fraction) > 1-confidence }
	low, high := found, found+1
	for likely(high) {
		low, high = high, 2*high
	}
	for high-low > 1 {
		if mid := low + (high-low)/2; likely(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// atMostProbability is how likely no more than k of n are drawn, each with probability p.
func atMostProbability(n, k int64, p float64) float64 {
	if k >= n {
		return 1
	}
	lg := func(x int64) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	var sum float64
	for i := range k + 1 {
		sum += math.Exp(lg(n) - lg(i) - lg(n-i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return sum
}

// drawSample decides which rows are looked at, where it is not all.
func (v *verification) drawSample() error {
	if v.Sample == 0 {
		return nil
	}
	place := "job " + v.Plan.Job.Name
	parts := int(math.Round(v.Sample * 1_000_000))
	if v.Sample < 0 || parts < 1 || parts >= 1_000_000 {
		return backfill.Inputf(place, "give a part of the rows, as 5%", "a sample of %g%% is none", v.Sample*100)
	}
	for _, c := range v.checks {
		_, values := c.proof.(*valuesProof)
		_, left := c.proof.(leftProof)
		_, again := c.proof.(*recomputeProof)
		if !values && !left && !again || c.history != nil || v.Plan.Heap != nil {
			return backfill.Inputf(whereIn(v.Plan.Job, c.line), "verify all of it, without --sample", "check %s cannot be asked of a sample: it is not about single rows of the table, by their keys", c.Name)
		}
	}
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // it never fails
	v.sample = &pgsql.Sample{Seed: int64(binary.BigEndian.Uint64(seed[:])), Parts: parts}
	return nil
}
