// A glazed teapot on a wooden table. Our own scene; README.md says how it becomes teapot.jpg.
#version 3.7;
global_settings { assumed_gamma 1.0 }
#include "colors.inc"
#include "woods.inc"
camera { location <0, 2.9, -8> look_at <0.1, 1.1, 0> angle 40 aperture 0.1 focal_point <0, 1, -1> blur_samples 24 }
light_source { <-7, 10, -8> color rgb <1, 0.97, 0.92> area_light <3,0,0>, <0,3,0>, 4, 4 adaptive 1 jitter }
light_source { <8, 6, -5> color rgb 0.3 shadowless }
plane { y, 0 texture { T_Wood7 scale 2 rotate <0, 20, 3> } }
plane { z, 10 pigment { gradient y color_map { [0 color rgb <0.62, 0.60, 0.55>] [1 color rgb <0.80, 0.78, 0.72>] } scale 8 } }
#declare Glaze = texture {
  pigment { bozo color_map { [0 color rgb <0.88, 0.86, 0.80>] [1 color rgb <0.93, 0.91, 0.86>] } scale 0.5 }
  finish { ambient 0.06 diffuse 0.75 specular 0.7 roughness 0.008 reflection { 0.03, 0.15 } }
}
#declare Blue = texture {
  pigment { color rgb <0.12, 0.22, 0.45> }
  finish { ambient 0.06 diffuse 0.75 specular 0.7 roughness 0.008 }
}
union {
  // Body, turned.
  lathe {
    cubic_spline 9,
    <0.2, -0.3>, <0.75, 0.02>, <1.25, 0.35>, <1.5, 0.95>, <1.30, 1.55>, <0.85, 1.90>, <0.70, 1.97>, <0.60, 1.97>, <0.2, 1.9>
    texture { Glaze }
  }
  torus { 0.75, 0.06 translate 0.05*y texture { Glaze } }
  torus { 1.49, 0.03 translate 0.95*y texture { Blue } }
  torus { 1.33, 0.02 translate 1.5*y texture { Blue } }
  // Lid and knob.
  sphere { 0, 1 scale <0.80, 0.32, 0.80> translate 1.93*y texture { Glaze } }
  torus { 0.80, 0.04 translate 1.96*y texture { Blue } }
  cylinder { 2.2*y, 2.35*y, 0.09 texture { Glaze } }
  sphere { 2.42*y, 0.17 texture { Blue } }
  // Spout.
  difference {
    sphere_sweep {
      cubic_spline 6,
      <0.9, 0.3, 0>, 0.45, <1.25, 0.7, 0>, 0.40, <1.75, 0.95, 0>, 0.28, <2.05, 1.45, 0>, 0.20, <2.35, 1.85, 0>, 0.17, <2.7, 2.1, 0>, 0.16
      tolerance 0.01
      texture { Glaze }
    }
    sphere { <2.44, 1.97, 0>, 0.15 pigment { color rgb 0.1 } }
  }
  // Handle.
  sphere_sweep {
    b_spline 8,
    <-0.8, 1.6, 0>, 0.12, <-1.15, 1.55, 0>, 0.12, <-1.7, 1.85, 0>, 0.12, <-2.25, 1.65, 0>, 0.12, <-2.3, 1.05, 0>, 0.12,
    <-1.85, 0.55, 0>, 0.12, <-1.3, 0.5, 0>, 0.12, <-0.9, 0.6, 0>, 0.12
    tolerance 0.01
    texture { Glaze }
  }
  rotate 18*y
}
