// Package explain says what a machine would get, and why: it asks the parts that would
// answer the machine, rule by rule, sends nothing and notes nothing. It says also what
// another DHCP server has to say so that its machines come here.
package explain
