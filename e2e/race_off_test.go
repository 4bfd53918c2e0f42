//go:build !race

package e2e

// raceBuild says whether the product is built with the race detector: whenever
// these tests are.
const raceBuild = false
