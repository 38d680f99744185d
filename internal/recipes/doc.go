// Package recipes is what every article about distributed locks shows, each beside
// its Lockstep form. docs/recipes.md is made of this code: what stands between
// `// recipe NAME: whose` and `// end` is there, line by line, and a test compares
// the two. `make recipes` runs every recipe on real servers.
//
// A recipe takes what the article's reader has, an address, and hooks by which the
// test sees what it does.
package recipes
