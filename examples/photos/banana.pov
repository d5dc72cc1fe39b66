// A bunch of bananas on a wooden table. Our own scene; README.md says how it becomes banana.jpg.
#version 3.7;
global_settings { assumed_gamma 1.0 }
#include "woods.inc"
camera { location <0, 4.2, -5.2> look_at <0, 0.2, 0.1> angle 38 aperture 0.1 focal_point <0, 0.5, -0.3> blur_samples 24 }
light_source { <-5, 9, -5> color rgb <1, 0.98, 0.93> area_light <3,0,0>, <0,3,0>, 4, 4 adaptive 1 jitter }
light_source { <8, 6, -4> color rgb 0.3 shadowless }
plane { y, 0 texture { T_Wood10 scale 2 rotate <0, 70, 3> } }
#declare Skin = texture {
  pigment { bozo turbulence 0.4 color_map { [0 color rgb <0.94, 0.74, 0.07>] [0.8 color rgb <0.97, 0.80, 0.13>] [0.9 color rgb <0.80, 0.58, 0.08>] [1 color rgb <0.45, 0.28, 0.06>] } scale <0.25, 0.12, 0.12> }
  finish { ambient 0.06 diffuse 0.8 specular 0.2 roughness 0.06 }
}
#declare Stem = texture { pigment { color rgb <0.55, 0.50, 0.12> } finish { ambient 0.06 diffuse 0.8 } }
#declare Tip = texture { pigment { color rgb <0.16, 0.11, 0.05> } finish { ambient 0.06 diffuse 0.8 } }
// An arc of 105 degrees about the origin with radius 2, thick in the middle.
#declare Banana = union {
  sphere_sweep {
    b_spline 11
    #declare I = -1;
    #while (I < 10)
      #declare A = radians(35 + 110*I/9);
      <2*cos(A), 2*sin(A), 0>, 0.35 - 0.26*pow(abs(I - 4.5)/5, 3)
      #declare I = I + 1;
    #end
    tolerance 0.01
    texture { Skin }
  }
  sphere { <2*cos(radians(36)), 2*sin(radians(36)), 0>, 0.14 texture { Tip } }
  sphere_sweep { linear_spline 2, <2*cos(radians(140)), 2*sin(radians(140)), 0>, 0.15, <-1.95, 0.92, 0>, 0.10 texture { Stem } }
  translate <1.9, -1.0, 0>
}
// Stems together at the left, lying.
union {
  object { Banana rotate <-72, 0, 0> rotate -34*y }
  object { Banana rotate <-62, 0, 0> rotate -14*y translate <0, 0.25, 0> }
  object { Banana rotate <-50, 0, 0> rotate 6*y translate <0, 0.35, 0> }
  rotate 35*y translate <-1.7, 0.42, 0.6>
}
