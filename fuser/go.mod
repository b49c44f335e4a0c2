module github.com/spatial-flow/spatial-flow/fuser

go 1.26.0

require github.com/spatial-flow/spatial-flow/flow v0.0.0

replace github.com/spatial-flow/spatial-flow/flow => ../flow
