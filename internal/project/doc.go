// Package project holds tests of the project itself: that the core needs
// nothing but the standard library, that the modules fit together, and that
// what the documents claim has a test or a figure behind it.
//
// It has no code of its own. A test here that fails names the file to change.
package project
