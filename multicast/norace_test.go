//go:build !race

package multicast

// raceDetector tells tests that everything takes ten times as long.
const raceDetector = false
