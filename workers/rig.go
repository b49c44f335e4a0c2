//go:build !rigged

package workers

// rigged is the device as it is: only programs that are built for a test change it.
func rigged(d device) device { return d }
