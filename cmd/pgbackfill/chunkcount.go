package main

import (
	"errors"
	"math"
	"strconv"
)

// chunkCount is a flag that takes a number of chunks: 1 or more. Less would be read as "all",
// where somebody who types it most likely means "none".
type chunkCount int

var errChunkCount = errors.New("expected a number of chunks, 1 or more")

// Set, String and Type make it a flag.
func (n *chunkCount) Set(text string) error {
	v, err := strconv.Atoi(text)
	if err != nil || v < 1 || v > math.MaxInt32 {
		return errChunkCount
	}
	*n = chunkCount(v)
	return nil
}

func (n *chunkCount) String() string { return strconv.Itoa(int(*n)) }

func (*chunkCount) Type() string { return "N" }
