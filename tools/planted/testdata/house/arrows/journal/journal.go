// Package journal imports beyond the standard library.
package journal

import _ "example.org/clever"
