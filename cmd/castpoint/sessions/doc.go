// Package sessions has the commands about multicast sessions and the tokens of receivers.
package sessions
