// Package source has where boot files come from: folders of loader files
// ([Loaders]), and the boot images of the content library ([Library],
// [PickImage]). A [File] is one of them, open, or one that was made for who asks.
package source
