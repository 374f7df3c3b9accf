// Package planted proves that the linters still bite. testdata/lint holds one
// small package for each, which that linter must refuse, and one clean package
// that all must accept; testdata/house holds the same for the house rules at
// the module's root, which test themselves.
//
// A linter that is misconfigured, or that silently stopped understanding the
// code, accepts everything: only a planted failure tells that from clean code.
// Run with `go -C tools test ./planted`; it needs the module proxy or a filled
// module cache, and runs the linters with the very flags that .ci/run uses.
package planted
