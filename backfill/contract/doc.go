// Package contract answers whether the contract migration may run: whether what a job filled is proven, is kept right by
// everybody who writes, and can take the place of what is to be dropped.
//
// It looks at everything anew each time and relies on nobody's "done". A condition passes, fails, is unknown, or is waived by
// somebody in writing until a date. What could not be looked at is unknown, and unknown never passes.
package contract
