//go:build !linux

package main

import "errors"

// evict is not known here.
func evict(string) error {
	return errors.New("the system's cache was not emptied: that is known of Linux only")
}
