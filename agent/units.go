package agent

import "fmt"

// Size writes a number of bytes the way people read it: 1 kB is 1000 bytes.
func Size(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d bytes", n)
	}
	v, u := float64(n), -1
	for v >= 999.5 && u < len(units)-1 {
		v /= 1000
		u++
	}
	return fmt.Sprintf("%.3g %cB", v, units[u])
}

// Rate writes bits per second the way people read it.
func Rate(bits float64) string {
	units := []string{"bit/s", "kbit/s", "Mbit/s", "Gbit/s"}
	u := 0
	for bits >= 999.5 && u < len(units)-1 {
		bits /= 1000
		u++
	}
	return fmt.Sprintf("%.3g %s", bits, units[u])
}
