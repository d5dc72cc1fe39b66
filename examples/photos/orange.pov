// Oranges on a wooden table, one cut open. Our own scene; orange.jpg is this at quality 93:
//   povray +W480 +H360 +A0.1 orange.pov
#version 3.7;
global_settings { assumed_gamma 1.0 }
#include "colors.inc"
#include "woods.inc"
#include "textures.inc"
camera { location <0, 3.2, -7> look_at <0, 0.85, 0> angle 38 }
light_source { <-8, 12, -9> color rgb <1, 0.97, 0.9> area_light <2,0,0>, <0,2,0>, 5, 5 adaptive 1 jitter }
light_source { <9, 6, -4> color rgb 0.25 shadowless }
plane { y, 0 texture { T_Wood7 scale 2 rotate <0, 25, 3> } }
plane { z, 9 pigment { color rgb <0.78, 0.80, 0.76> } }
#declare Peel = texture {
  pigment { bozo color_map { [0 color rgb <1.0, 0.42, 0.02>] [1 color rgb <0.96, 0.52, 0.05>] } scale 0.4 }
  normal { bumps 0.35 scale 0.035 }
  finish { ambient 0.06 diffuse 0.8 specular 0.35 roughness 0.03 }
}
#macro Fruit(P, R, T)
  union {
    sphere { 0, 1 scale <1, 0.94, 1> texture { Peel } }
    difference {
      sphere { <0, 0.94, 0>, 0.09 }
      sphere { <0, 1.0, 0>, 0.07 }
      pigment { color rgb <0.25, 0.35, 0.08> }
    }
    scale R rotate T translate P
  }
#end
Fruit(<-1.05, 0.94, 0>, 1.0, <20, 30, 25>)
Fruit(<1.0, 0.92, 0.1>, 0.98, <-30, 10, -40>)
Fruit(<0.0, 0.90, 1.7>, 0.96, <10, 0, 15>)
Fruit(<0.0, 2.30, 0.75>, 0.97, <-35, 0, 20>)
// A half, cut side to the camera.
union {
  difference {
    sphere { 0, 1 texture { Peel } }
    box { <-2, -2, -2>, <2, 2, 0> }
  }
  cylinder { <0,0,-0.001>, <0,0,0.05>, 0.985 pigment { color rgb <1, 0.93, 0.78> } }
  #declare I = 0;
  #while (I < 10)
    prism {
      linear_spline -0.03, 0.04, 4, <0, 0.09>, <0.235, 0.82>, <-0.235, 0.82>, <0, 0.09>
      rotate -90*x
      pigment { bozo color_map { [0 color rgb <1.0, 0.50, 0.04>] [1 color rgb <1.0, 0.66, 0.18>] } scale 0.08 }
      normal { bumps 0.3 scale 0.05 }
      finish { specular 0.5 roughness 0.02 ambient 0.1 }
      rotate z*I*36
    }
    #declare I = I + 1;
  #end
  scale 0.92 rotate <28, -18, 0> translate <0.35, 0.86, -1.75>
}
