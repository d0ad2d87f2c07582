// Package element lists the elements of boot configuration: the settings that an
// object of a store can have.
//
// An element is named by eight hexadecimal digits ([ID]), whose first says its
// class: who reads it, and whose second its format: what kind of value it has
// ([Format]). bcdedit has a word for each ([Name]), and for the numbers that some
// are set to ([Word]).
package element
