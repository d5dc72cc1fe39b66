// A basketball on the floor of a hall. Our own scene; README.md says how it becomes basketball.jpg.
#version 3.7;
global_settings { assumed_gamma 1.0 }
#include "woods.inc"
camera { location <0, 1.9, -5.6> look_at <0, 1.05, 0> angle 34 aperture 0.12 focal_point <0, 1, -0.9> blur_samples 24 }
light_source { <-5, 9, -6> color rgb <1, 0.97, 0.92> area_light <3,0,0>, <0,3,0>, 4, 4 adaptive 1 jitter }
light_source { <7, 5, -5> color rgb 0.25 shadowless }
plane { y, 0 texture { T_Wood23 scale 1.5 rotate <0, 90, 0> finish { reflection 0.08 } } }
plane { z, 12 pigment { gradient y color_map { [0 color rgb <0.25, 0.30, 0.42>] [1 color rgb <0.65, 0.68, 0.72>] } scale 9 } }
#declare Leather = texture {
  pigment { bozo color_map { [0 color rgb <0.72, 0.26, 0.07>] [1 color rgb <0.80, 0.32, 0.09>] } scale 0.3 }
  normal { bumps 0.5 scale 0.02 }
  finish { ambient 0.06 diffuse 0.75 specular 0.25 roughness 0.05 }
}
#declare Seam = texture { pigment { color rgb 0.03 } finish { diffuse 0.6 specular 0.1 } }
// The seams: two great circles and two curved ones.
union {
  sphere { 0, 1 texture { Leather } }
  torus { 0.996, 0.022 texture { Seam } }
  torus { 0.996, 0.022 rotate 90*z texture { Seam } }
  intersection {
    sphere { 0, 1.008 }
    union {
      torus { 0.80, 0.03 scale <1, 30, 1> rotate 90*x translate <1.28, 0, 0> }
      torus { 0.80, 0.03 scale <1, 30, 1> rotate 90*x translate <-1.28, 0, 0> }
    }
    texture { Seam }
  }
  rotate <-35, 0, 0> rotate <0, 30, 0> rotate <0, 0, 18> translate 1.0*y
}
