// Package version says which pizzamill this is.
package version

import "runtime/debug"

// release is set by the linker for releases: -X …/platform/version.release=1.2.3.
var release = ""

// String returns the release, or "dev" and the commit where the build knows it.
func String() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return "dev-" + s.Value[:12]
			}
		}
		if v := info.Main.Version; v != "" && v != "(devel)" {
			return v
		}
	}
	return "dev"
}
