//go:build newer

package flow

// Wire is that of a program that is a version ahead, built for tests of updates.
const Wire = 3
